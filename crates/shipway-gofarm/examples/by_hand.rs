//! Real builds by hand, with what they cost: cold, warmed, warm, warm with a plugin.
//!
//! `cargo run -p shipway-gofarm --example by_hand -- caddy v2.11.9 https://…` as root; the last
//! word is a list of module proxies as `GOPROXY` has it, and GOSUMDB comes from `go env`. The
//! plugin is a small one of our own, served by a `file://` proxy put before the list, and
//! the only module that need not be in the checksum database.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a person looks on")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shipway_driver_embedded::{BenchConfig, EmbeddedConfig, EmbeddedDriver};
use shipway_engine::EngineConfig;
use shipway_engine::host_image::{HostImageConfig, Wanted};
use shipway_gobuild::plan::{Checksums, Layout, Limits, Settings};
use shipway_gobuild::proxy::{Proxies, ProxiesConfig, ProxyLimits, ProxyList};
use shipway_gobuild::request::{Query, Request, parse_plugin};
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::testing::ModuleProxy;
use shipway_gobuild::{Plan, Platform, Recipe};
use shipway_gofarm::sandbox::Sandbox;
use shipway_gofarm::{BuildEvent, Built, Failure, Farm, FarmConfig, FarmLimits, What, door};
use shipway_model::Digest;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown;
use tokio::sync::mpsc;

const GO: &str = "/usr/local/go";
const PLUGIN: &str = "example.com/plugin";
const SOURCE: &str = r#"package plugin

import "github.com/caddyserver/caddy/v2"

func init() { caddy.RegisterModule(Small{}) }

// Small is a module that does nothing.
type Small struct{}

// CaddyModule tells what it is.
func (Small) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "small", New: func() caddy.Module { return new(Small) }}
}
"#;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, version, list] = words.as_slice() else { panic!("RECIPE VERSION PROXIES") };
    let recipe = Recipe::named(recipe).unwrap();
    let folder = tempfile::TempDir::with_prefix("shipway-by-hand-").unwrap();
    let files = ModuleProxy::new();
    let go_mod = format!("module {PLUGIN}\n\ngo 1.25\n\nrequire {} {version}\n", recipe.module);
    files.add(PLUGIN, "v1.0.0", &[("go.mod", &go_mod), ("plugin.go", SOURCE)]);
    let list = format!("{},{list}", files.url());
    let config =
        ProxiesConfig { list: ProxyList::parse(&list).unwrap(), ca_file: None, limits: ProxyLimits::default() };
    let proxies = Proxies::open(config).unwrap();

    let driver = open(folder.path()).await;
    let benches: Arc<dyn Sandbox> = Arc::new(driver.benches().unwrap().unwrap().clone());
    let config = FarmConfig {
        toolchain: GO.into(),
        layout: Layout::default(),
        proxies: proxies.clone(),
        checksums: None,
        limits: FarmLimits::default(),
    };
    let farm = Farm::new(Arc::clone(&benches), Arc::new(HostClock), config);
    let plain = plan(&recipe, version, None, &proxies).await;
    let plugin = if recipe.name == "caddy" { Some(plan(&recipe, version, Some(PLUGIN), &proxies).await) } else { None };

    let out = |name: &str| folder.path().join(name);
    show("cold", &build(&farm, &plain, None, &out("cold")).await);
    let began = Instant::now();
    let (events, _) = mpsc::channel(1);
    let (_stop, stopped) = shutdown::channel();
    let cache = farm.warm(std::slice::from_ref(&plain), events, stopped).await.unwrap();
    println!("warmed in {:?}", began.elapsed());
    let began = Instant::now();
    assert!(benches.is_intact(&cache).await.unwrap());
    println!("looked through in {:?}", began.elapsed());
    show("warm", &build(&farm, &plain, Some(cache.clone()), &out("warm")).await);
    if let Some(plugin) = plugin {
        let built = build(&farm, &plugin, Some(cache.clone()), &out("plugin")).await;
        show("warm, with a plugin", &built);
        println!("listed: {}", built.program.concat().contains(PLUGIN));
    }
    let same = std::fs::read(out("cold")).unwrap() == std::fs::read(out("warm")).unwrap();
    println!("cold and warm are the same bytes: {same}");
    let caches = folder.path().join("benches/caches");
    let size = std::process::Command::new("du").arg("-sh").arg(&caches).output().unwrap();
    println!("cache: {}", String::from_utf8_lossy(&size.stdout));
    drop(farm);
    drop(benches);
    driver.close().await;
}

async fn open(folder: &Path) -> EmbeddedDriver {
    let packages = ["coreutils", "dash"].map(Wanted::required).to_vec();
    let config = EmbeddedConfig {
        engine: EngineConfig::new(folder.join("engine"), "/run/shipway-test", 4711),
        images: folder.join("images"),
        layers: folder.join("layers"),
        host_image: HostImageConfig { packages, ..HostImageConfig::default() },
        content: folder.to_owned(),
        benches: Some(BenchConfig::new(folder.join("benches"))),
    };
    EmbeddedDriver::open(config).await.unwrap()
}

async fn plan(recipe: &Recipe, version: &str, plugin: Option<&str>, proxies: &Proxies) -> Plan {
    let began = Instant::now();
    let platform = Platform::parse("linux", "amd64", None).unwrap();
    let plugins = plugin.into_iter().map(|package| parse_plugin(package).unwrap());
    let version = Query::parse(version).unwrap();
    let request = Request::new(recipe, version, plugins.collect(), Vec::new(), platform.clone(), 100).unwrap();
    let resolver = Resolver::new(proxies.clone(), Duration::from_secs(120));
    let resolved = resolver.resolve(recipe, &request).await.unwrap();
    println!("resolved in {:?}: {} {:?}", began.elapsed(), resolved.program, resolved.plugins);
    let settings = Settings {
        go: read(&["env", "GOVERSION"]).trim_start_matches("go").to_owned(),
        sandbox: 1,
        layout: Layout::default(),
        proxy: door::URL.to_owned(),
        checksums: Checksums { database: read(&["env", "GOSUMDB"]), exempt: vec![PLUGIN.to_owned()] },
        host: Some(platform),
        limits: Limits::default(),
    };
    Plan::make(recipe, &resolved, &settings)
}

fn read(words: &[&str]) -> String {
    let output = std::process::Command::new(format!("{GO}/bin/go")).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn build(farm: &Farm, plan: &Plan, cache: Option<Digest>, to: &Path) -> Built {
    let (events, mut told) = mpsc::channel(1000);
    let (_stop, stopped) = shutdown::channel();
    let listening = tokio::spawn(async move {
        let mut all: Vec<BuildEvent> = Vec::new();
        while let Some(event) = told.recv().await {
            all.push(event);
        }
        all
    });
    let built: Result<Built, Failure> = farm.build(plan, cache, to, events, stopped).await;
    let events = listening.await.unwrap();
    built.unwrap_or_else(|failure| {
        for event in events.iter().rev().take(60).rev() {
            if let What::Line { source, text, .. } = &event.what {
                println!("{source:?}: {text}");
            }
        }
        panic!("{failure:?}")
    })
}

fn show(what: &str, built: &Built) {
    let total: Duration = built.steps.iter().map(|step| step.took).sum();
    println!("{what}: {total:?}, {} bytes, fetched {:?}", built.bytes, built.fetched);
    for step in built.steps.iter().filter(|step| step.took > Duration::from_millis(10)) {
        let mega = |bytes: u64| bytes >> 20;
        let (memory, disk) = (mega(step.memory_peak_bytes), mega(step.disk_bytes));
        println!("  {:?}: {:?}, memory {memory} MiB, disk {disk} MiB", step.name, step.took);
    }
}
