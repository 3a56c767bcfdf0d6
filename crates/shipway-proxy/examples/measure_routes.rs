//! Prints what 100,000 routes cost a proxy process and how soon a change is
//! visible: `cargo run --release -p shipway-proxy --example measure_routes`.
//!
//! "Visible" is from the call of `FeedClient::set` to the proxy's word that new
//! requests go by it. Needs the example `proxy_process` built beside it.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use shipway_proxy::{
    Endpoint, FeedClient, Limits, Listener, ProxyConfig, Route, RouteState, Serves, Settings, startup,
};

const ROUTES: usize = 100_000;
const CHANGES: usize = 1000;
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> std::io::Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = Settings {
        run_dir: dir.path().to_owned(),
        snapshot_dir: dir.path().to_owned(),
        user: None,
        host_suffixes: vec!["localhost".to_owned()],
        api_hosts: Vec::new(),
        instance: "measure".to_owned(),
        threads: 1,
        routes_wait: Duration::ZERO,
        fast_path: true,
        limits: Limits::default(),
    };
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let listeners = vec![Listener { name: "l".to_owned(), serves: Serves::Both, socket }];
    let program = std::env::current_exe()?.with_file_name("proxy_process");
    let mut child = startup::start(&program, &[], &ProxyConfig { settings: settings.clone(), listeners })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(measure(&settings, child.id()));
    child.kill()?;
    child.wait()?;
    let mut out = std::io::stdout();
    write!(out, "{}", result?)
}

async fn measure(settings: &Settings, pid: u32) -> std::io::Result<String> {
    let (feed, task) = FeedClient::new(settings.run_dir.join("proxy.sock"), settings.instance.clone());
    let (_stop, shutdown) = shipway_stdx::shutdown::channel();
    tokio::spawn(task.run(shutdown));
    let late = std::io::Error::other;
    feed.connected(LIMIT).await.map_err(late)?;
    let empty = resident_kib(pid)?;
    let start = Instant::now();
    let generation = feed.publish((0..ROUTES).map(|n| route(n, 0)));
    feed.applied(generation, LIMIT).await.map_err(late)?;
    let all = start.elapsed();
    let mut took = Vec::new();
    for n in 0..CHANGES {
        let start = Instant::now();
        let generation = feed.set(route(n * 97 % ROUTES, 1));
        feed.applied(generation, LIMIT).await.map_err(late)?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    let full = resident_kib(pid)?;
    Ok(format!(
        "routes {ROUTES}\nresident {full} KiB (empty {empty} KiB)\nsnapshot {all:?}\nchange p50 {:?} p99 {:?} max {:?}\n",
        took[CHANGES / 2],
        took[CHANGES * 99 / 100],
        took[CHANGES - 1],
    ))
}

fn route(n: usize, release: u32) -> Route {
    let id = format!("{n:08x}-0000-4000-8000-{release:012x}");
    let id = format!("{}{}", &id[..24], "0123456789ab");
    let name = format!("service-{n}");
    let path = format!("/run/shipway/c/{n:08x}-0000-4000-8000-{release:012x}/http.sock");
    let endpoint = Endpoint::Unix { path };
    Route::new(id.clone(), name.clone(), vec![id, name], RouteState::Live { endpoint })
}

fn resident_kib(pid: u32) -> std::io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    number.ok_or_else(|| std::io::Error::other("no VmRSS"))
}
