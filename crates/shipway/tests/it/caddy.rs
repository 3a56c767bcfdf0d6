//! The real `caddy`, built by Shipway, that fetches its successors from Shipway: what its commands
//! `add-package`, `upgrade` and `remove-package` do, and what each failure leaves.
//!
//! One story, because a Caddy from nothing takes minutes: the modules of Caddy come from where the
//! go command of this machine gets them, the plugins from a folder laid out here.

pub(crate) mod elsewhere;
pub(crate) mod front;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use shipway_gobuild::testing::ModuleProxy;
use shipway_testkit::{FileServer, Platform, Settings, http, wait_until};

use elsewhere::{Elsewhere, PAGE};
use front::Front;

use crate::farm::SMALL;

/// A Caddy from nothing, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What a plugin of Caddy looks like.
fn plugin(package: &str, id: &str, more: &str) -> String {
    format!(
        "package {package}\n\nimport \"github.com/caddyserver/caddy/v2\"\n\n\
         func init() {{ caddy.RegisterModule(Plugin{{}}) }}\n\n{more}\n\ntype Plugin struct{{}}\n\n\
         func (Plugin) CaddyModule() caddy.ModuleInfo {{\n\
         \treturn caddy.ModuleInfo{{ID: \"{id}\", New: func() caddy.Module {{ return new(Plugin) }}}}\n}}\n"
    )
}

/// A module with one file.
fn add(proxy: &ModuleProxy, module: &str, version: &str, source: &str) {
    let go_mod = format!("module {module}\n\ngo 1.21\n");
    proxy.add(module, version, &[("go.mod", &go_mod), ("plugin.go", source)]);
}

fn plugins() -> ModuleProxy {
    let proxy = ModuleProxy::new();
    add(&proxy, "example.com/good", "v1.0.0", &plugin("good", "shipway.good", ""));
    add(&proxy, "example.com/major/v2", "v2.1.0", &plugin("major", "shipway.major", ""));
    let wrong = "func wrong() int { return \"no number\" }";
    add(&proxy, "example.com/broken", "v1.0.0", &plugin("broken", "shipway.broken", wrong));
    add(&proxy, "example.com/plain", "v1.0.0", "package plain\n\nconst Answer = 42\n");
    let hostile = "func init() { panic(\"hostile\") }";
    add(&proxy, "example.com/hostile", "v1.0.0", &plugin("hostile", "shipway.hostile", hostile));
    // A program with which a cache of the real one is made in the time of a small one: see `warm`.
    proxy.add("example.com/small", "v1.0.0", &SMALL);
    proxy
}

/// Where the go command of this machine gets modules, `direct` apart.
fn usual_proxies() -> String {
    let output = Command::new("/usr/local/go/bin/go").args(["env", "GOPROXY"]).output();
    let output = output.or_else(|_| Command::new("go").args(["env", "GOPROXY"]).output()).unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    list.trim().trim_end_matches("direct").trim_end_matches([',', '|']).to_owned()
}

/// A platform, its page, and a `caddy` of its own making.
struct Story {
    platform: Platform,
    front: Front,
    elsewhere: Elsewhere,
    home: tempfile::TempDir,
    _plugins: ModuleProxy,
    _gatekeeper: FileServer,
}

impl Story {
    fn begin() -> Self {
        let (plugins, gatekeeper) = (plugins(), FileServer::start().unwrap());
        // What it does not know it has not; what it refuses is asked of nobody else.
        for file in ["/@v/list", "/@latest"] {
            drop(gatekeeper.put_status(&format!("/example.com/refused{file}"), 403, "not in this house"));
        }
        let list = format!("{},http://{},{}", plugins.url(), gatekeeper.address(), usual_proxies());
        let environment = [
            ("SHIPWAY_BUILDS_ENABLED", "true"),
            ("SHIPWAY_API_GO_PROXY", &list),
            ("SHIPWAY_BUILDS_CHECKSUM_EXEMPT", "example.com"),
            ("SHIPWAY_API_PUBLIC_HOST", PAGE),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let binary = Path::new(env!("CARGO_BIN_EXE_shipway"));
        let platform = Platform::start(binary, Settings { environment, roles: None }).unwrap();
        let (elsewhere, listener) = Elsewhere::new();
        let front = Front::start(listener, &elsewhere.identity, platform.address());
        let home = tempfile::tempdir().unwrap();
        Self { platform, front, elsewhere, home, _plugins: plugins, _gatekeeper: gatekeeper }
    }

    /// A cache of the real Caddy, for the price of one: after a build that found no cache Shipway
    /// makes one, of the program alone. That build is one of a program that is replaced.
    fn warm(&self) {
        let replaced = "github.com/caddyserver/caddy/v2=example.com/small@v1.0.0";
        let file = self.home.path().join("small");
        self.shipway(&["caddy", "build", "--replace", replaced, "-o", file.to_str().unwrap()]);
        wait_until("there is a cache", PATIENCE, || {
            let log = self.platform.log();
            assert!(!log.contains("no warm cache for builds"), "{log}");
            log.contains("builds have a warm cache").then_some(())
        });
    }

    #[track_caller]
    fn shipway(&self, words: &[&str]) -> String {
        let output = self.platform.cli(words).unwrap();
        assert_eq!(output.code, 0, "shipway {words:?}: {}\n{}", output.stdout, output.stderr);
        output.stdout
    }

    fn binary(&self) -> PathBuf {
        self.home.path().join("caddy")
    }

    fn caddy(&self, words: &[&str]) -> Output {
        self.elsewhere.run(&self.binary(), words)
    }

    /// A command of `caddy` that must go well.
    #[track_caller]
    fn well(&self, words: &[&str]) -> String {
        let output = self.caddy(words);
        assert!(output.status.success(), "caddy {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The modules it has that are not Caddy's own.
    #[track_caller]
    fn modules(&self) -> Vec<String> {
        let listed = self.well(&["list-modules", "--skip-standard", "--versions"]);
        let of_plugins = listed.lines().filter(|line| line.starts_with("shipway."));
        of_plugins.map(str::to_owned).collect()
    }

    /// A command of `caddy` that must fail for this reason, and leave everything as it was.
    #[track_caller]
    fn fails(&self, words: &[&str], reasons: &[&str]) {
        let before = sum(&self.binary());
        let output = self.caddy(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "caddy {words:?}: {output:?}");
        for reason in reasons {
            assert!(said.contains(reason), "caddy {words:?}: {reason:?} is not in {said}");
        }
        assert_eq!(sum(&self.binary()), before, "caddy {words:?} changed the binary: {said}");
        let mut left: Vec<_> =
            fs::read_dir(self.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["caddy", "small"], "caddy {words:?} left something");
    }
}

fn sum(file: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(file).unwrap()).to_vec()
}

/// What the download page does: `HEAD`, wait, and go where it is told.
fn the_page_is_told_where_the_binary_is(story: &Story) {
    let path = "/api/download?os=linux&arch=amd64&arm=&p=example.com%2Fgood&idempotency=8310842";
    let head = http::request(story.platform.address(), "HEAD", PAGE, path, &[], b"").unwrap();
    assert_eq!(head.status, 200, "{head:?}");
    let there = head.header("location").unwrap();
    let answer = http::get(story.platform.address(), PAGE, there).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(head.header("content-length").unwrap(), answer.body.len().to_string());
    assert_eq!(answer.header("content-disposition").unwrap(), "attachment; filename=caddy");
    assert_eq!(answer.body[..4], *b"\x7fELF");
}

#[test]
fn the_real_caddy_fetches_its_successors_here() {
    let mut story = Story::begin();
    story.warm();
    let file = story.binary().display().to_string();
    story.shipway(&["caddy", "build", "-o", &file]);
    let version = story.well(&["version"]);
    assert_eq!(story.modules(), Vec::<String>::new());

    story.well(&["add-package", "example.com/good"]);
    assert_eq!(story.modules(), ["shipway.good v1.0.0"]);
    story.well(&["add-package", "example.com/major/v2@v2.1.0"]);
    let both = ["shipway.good v1.0.0", "shipway.major v2.1.0"];
    assert_eq!(story.modules(), both);
    let before = sum(&story.binary());
    story.well(&["upgrade"]);
    assert_eq!(story.modules(), both);
    assert_eq!(story.well(&["version"]), version);
    assert_eq!(sum(&story.binary()), before, "the same again is the same bytes");
    the_page_is_told_where_the_binary_is(&story);

    let failed = "download failed: HTTP";
    story.fails(&["add-package", "example.com/broken"], &[failed, "422", "cannot use", "no number"]);
    story.fails(&["add-package", "example.com/hostile"], &[failed, "422", "hostile"]);
    story.fails(&["add-package", "example.com/plain"], &[failed, "422", "example.com/plain"]);
    story.fails(&["add-package", "example.com/refused"], &[failed, "400", "example.com/refused", "403"]);
    story.fails(&["add-package", "example.com/good@v9.9.9"], &[failed, "400", "example.com/good", "v9.9.9"]);
    story.fails(&["add-package", "example.invalid/unknown"], &[failed, "400", "example.invalid/unknown"]);
    story.front.cut_after(5_000_000);
    story.fails(&["upgrade"], &["unable to download file"]);
    story.front.cut_after(0);
    story.fails(&["upgrade"], &["download failed: secure request failed"]);
    story.front.cut_after(u64::MAX);
    story.platform.kill().unwrap();
    story.fails(&["upgrade"], &[failed, "503", "the API is not available"]);
    story.platform.restart().unwrap();

    story.well(&["remove-package", "example.com/good"]);
    assert_eq!(story.modules(), ["shipway.major v2.1.0"]);
    story.well(&["remove-package", "example.com/major/v2"]);
    assert_eq!(story.modules(), Vec::<String>::new());
}
