//! A farm: an api, a janitor and three workers on one PostgreSQL and one S3, each with an engine, a
//! state directory and a cache of its own. What they make is the same; who dies is replaced; what
//! is away is waited for.
//!
//! The program is called Caddy and is a page long, so that a build takes seconds.

mod cable;
mod modules;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shipway_gobuild::testing::ModuleProxy;
use shipway_testkit::{Moto, Platform, Postgres, Settings, Stop, http, wait_until};

use cable::Cable;
use modules::Modules;

/// A worker that is not heard of for so long has lost its work.
const LEASE: Duration = Duration::from_secs(3);
/// A build, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const BUCKET: &str = "artifacts";

/// A program of Caddy's name, as small as one can be.
pub(crate) const SMALL: [(&str, &str); 4] = [
    ("go.mod", "module github.com/caddyserver/caddy/v2\n\ngo 1.21\n"),
    ("caddy.go", "package caddy\n\nfunc RegisterModule(m any) {}\n"),
    // Data for times is linked with it, and wants the package.
    ("cmd/cmd.go", "package cmd\n\nimport _ \"time\"\n\nfunc Main() {}\n"),
    ("modules/standard/standard.go", "package standard\n"),
];

/// The small program, and a plugin in versions `v1.0.1` to `v1.0.N` that each need the same version of
/// another module. Only a worker asks for that one's content.
fn small_modules(versions: u32) -> ModuleProxy {
    let proxy = ModuleProxy::new();
    proxy.add("github.com/caddyserver/caddy/v2", "v2.11.0", &SMALL);
    for version in (1..=versions).map(|number| format!("v1.0.{number}")) {
        let leaf = [("go.mod", "module example.com/leaf\n\ngo 1.21\n"), ("leaf.go", "package leaf\n")];
        proxy.add("example.com/leaf", &version, &leaf);
        let go_mod = format!("module example.com/plugin\n\ngo 1.21\n\nrequire example.com/leaf {version}\n");
        let source = "package plugin\n\nimport (\n\t_ \"example.com/leaf\"\n\n\
            \t\"github.com/caddyserver/caddy/v2\"\n)\n\nfunc init() { caddy.RegisterModule(Plugin{}) }\n\n\
            type Plugin struct{}\n";
        proxy.add("example.com/plugin", &version, &[("go.mod", &go_mod), ("plugin.go", source)]);
    }
    proxy
}

/// Everything but the processes.
struct Ground {
    database: Postgres,
    url: String,
    s3: Moto,
    cable: Cable,
    modules: Modules,
}

impl Ground {
    fn new() -> Self {
        let database = Postgres::start().unwrap();
        let url = database.url(&database.create(None).unwrap());
        let s3 = Moto::start().unwrap();
        s3.make_bucket(BUCKET).unwrap();
        let cable = Cable::to(s3.address());
        Self { database, url, s3, cable, modules: Modules::serve(small_modules(4)) }
    }

    fn begin(&self, roles: &str) -> Platform {
        let environment = [
            ("DATABASE_URL", self.url.clone()),
            ("SHIPWAY_WORKER_LEASE_SECONDS", LEASE.as_secs().to_string()),
            ("SHIPWAY_BUILDS_ENABLED", "true".to_owned()),
            ("SHIPWAY_API_GO_PROXY", format!("http://{}", self.modules.address)),
            ("SHIPWAY_BUILDS_CHECKSUM_DATABASE", "off".to_owned()),
            ("SHIPWAY_BUILDS_WARM", "caddy@latest".to_owned()),
            ("SHIPWAY_STORAGE_TYPE", "s3".to_owned()),
            ("SHIPWAY_STORAGE_S3_BUCKET", BUCKET.to_owned()),
            ("SHIPWAY_STORAGE_S3_ENDPOINT", format!("http://{}", self.cable.address)),
            ("SHIPWAY_STORAGE_S3_ACCESS_KEY", "key".to_owned()),
            ("SHIPWAY_STORAGE_S3_SECRET_KEY", "secret".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let settings = Settings { environment, roles: Some(roles.to_owned()) };
        Platform::begin(Path::new(env!("CARGO_BIN_EXE_shipway")), settings).unwrap()
    }
}

struct Farm {
    api: Platform,
    workers: Vec<Platform>,
    _janitor: Platform,
    ground: Ground,
}

impl Farm {
    /// Starts all of it. Nobody asks S3 before there is something to keep.
    fn start(workers: usize) -> Self {
        let ground = Ground::new();
        ground.cable.pull();
        let mut janitor = ground.begin("janitor");
        let mut api = ground.begin("api,proxy");
        let mut workers: Vec<Platform> = (0..workers).map(|_| ground.begin("worker")).collect();
        [&mut janitor, &mut api].into_iter().chain(&mut workers).for_each(Platform::wait_ready);
        ground.cable.plug();
        Self { api, workers, _janitor: janitor, ground }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        let answer = http::request(self.api.address(), method, "localhost", path, &headers, body.as_bytes()).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Asks for a build; nobody waits for its end.
    #[track_caller]
    fn order(&self, number: u32) -> String {
        let plugins = [format!("example.com/plugin@v1.0.{number}")];
        let wanted = json!({ "recipe": "caddy", "plugins": plugins, "os": "linux", "arch": "amd64" });
        let (status, build) = self.ask("POST", "/v1/builds", &wanted.to_string());
        assert_eq!(status, 202, "{build}");
        text(&build["id"])
    }

    /// The same, and waits until a worker stands still in the middle of it.
    #[track_caller]
    fn order_held(&self, number: u32) -> String {
        self.ground.modules.hold(&format!("/example.com/leaf/@v/v1.0.{number}.zip"));
        let id = self.order(number);
        wait_until("a worker is in the middle of it", PATIENCE, || self.ground.modules.is_waited_for().then_some(()));
        id
    }

    fn build(&self, id: &str) -> Option<Value> {
        let (status, build) = self.ask("GET", &format!("/v1/builds/{id}"), "");
        (status == 200).then_some(build)
    }

    /// Waits for a build to end well.
    #[track_caller]
    fn made(&self, id: &str) -> Value {
        wait_until("it is made", PATIENCE, || {
            let build = self.build(id)?;
            assert_ne!(build["state"], "failed", "{build:#}");
            (build["state"] == "success").then_some(build)
        })
    }

    /// Which of the workers has this build, or had it last.
    fn place_of(&self, build: &Value) -> usize {
        let name = text(&build["worker"]);
        let has = |worker: &Platform| {
            let instance = std::fs::read_to_string(worker.state_dir().join("instance")).unwrap();
            name.ends_with(&instance[..8])
        };
        self.workers.iter().position(has).unwrap_or_else(|| panic!("{build:#}"))
    }

    /// The digests of what is in the bucket.
    fn kept(&self) -> Vec<String> {
        let keys = self.ground.s3.keys(BUCKET).unwrap();
        let names = keys.iter().filter_map(|key| key.rsplit('/').next());
        // What is beside an artifact has its name and an ending.
        names.filter(|name| !name.contains('.')).map(|name| format!("sha256:{name}")).collect()
    }

    /// What is served is what was made.
    #[track_caller]
    fn assert_whole(&self, build: &Value) {
        let path = format!("/v1/builds/{}/artifact", text(&build["id"]));
        let answer = http::get(self.api.address(), "localhost", &path).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(Some(answer.body.len() as u64), build["artifact"]["size_bytes"].as_u64());
        assert_eq!(answer.body[..4], *b"\x7fELF");
        let digest = text(&build["artifact"]["digest"]);
        assert!(self.kept().contains(&digest), "{digest} is not kept: {:?}", self.kept());
    }

    fn word(&self, words: &[&str]) {
        let output = self.api.cli(words).unwrap();
        assert_eq!(output.code, 0, "shipway {words:?}: {output:?}");
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Killed in the middle of a build; it comes back later. Returns the build, and a worker that had no
/// part in it.
fn a_worker_is_killed(farm: &mut Farm) -> (Value, usize) {
    let id = farm.order_held(1);
    let first = farm.place_of(&farm.build(&id).unwrap());
    farm.workers[first].kill().unwrap();
    let killed_at = Instant::now();
    let second = wait_until("another worker has it", PATIENCE, || {
        let build = farm.build(&id)?;
        (build["state"] == "building").then(|| farm.place_of(&build)).filter(|place| *place != first)
    });
    let took = killed_at.elapsed();
    assert!(took < LEASE + Duration::from_secs(30), "it took {took:?}");
    farm.ground.modules.release();
    let build = farm.made(&id);
    assert_eq!((farm.place_of(&build), &build["generation"]), (second, &json!(1)));
    farm.assert_whole(&build);
    assert_eq!(farm.kept().len(), 1, "{:?}", farm.kept());
    let (_, all) = farm.ask("GET", "/v1/builds", "");
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all:#}");
    farm.workers[first].restart().unwrap();
    (build, 3 - first - second)
}

/// Made anew where it was not made before: the same bytes.
fn another_worker_makes_the_same(farm: &Farm, before: &Value, elsewhere: usize) {
    let short = |at: usize| {
        let instance = std::fs::read_to_string(farm.workers[at].state_dir().join("instance")).unwrap();
        instance[..8].to_owned()
    };
    let (_, workers) = farm.ask("GET", "/v1/workers", "");
    let ids: Vec<String> = workers["items"].as_array().unwrap().iter().map(|worker| text(&worker["id"])).collect();
    let others: Vec<&String> = ids.iter().filter(|id| !id.ends_with(&short(elsewhere))).collect();
    others.iter().for_each(|id| farm.word(&["workers", "cordon", id]));
    let (status, again) = farm.ask("POST", &format!("/v1/builds/{}/rebuild", text(&before["id"])), "");
    assert_eq!(status, 202, "{again}");
    let again = farm.made(&text(&again["id"]));
    others.iter().for_each(|id| farm.word(&["workers", "uncordon", id]));
    assert_eq!(farm.place_of(&again), elsewhere);
    assert_eq!(again["artifact"]["digest"], before["artifact"]["digest"]);
    assert_eq!(again["generation"], 2);
    farm.assert_whole(&again);
    assert_eq!(farm.kept().len(), 1, "{:?}", farm.kept());
}

/// S3 goes away while a build is made: it waits with what it made, and nobody sees any of it.
fn s3_is_away_when_it_is_to_be_kept(farm: &Farm) {
    let id = farm.order_held(2);
    farm.ground.cable.pull();
    farm.ground.modules.release();
    wait_until("it is tried in vain", PATIENCE, || (farm.ground.cable.turned_away() > 0).then_some(()));
    let build = farm.build(&id).unwrap();
    assert_eq!((&build["state"], &build["artifact"]), (&json!("building"), &Value::Null), "{build:#}");
    farm.ground.cable.plug();
    farm.assert_whole(&farm.made(&id));
}

/// The database goes away while a build is made, for less than a lease and for more.
fn the_database_is_away_in_the_middle(farm: &Farm) {
    for (number, how, pause) in [(3, Stop::Immediate, Duration::ZERO), (4, Stop::Fast, 2 * LEASE)] {
        let id = farm.order_held(number);
        farm.ground.database.stop(how).unwrap();
        farm.ground.modules.release();
        let stopped_at = Instant::now();
        wait_until("it is away for so long", PATIENCE, || (stopped_at.elapsed() >= pause).then_some(()));
        let refused = http::get(farm.api.address(), "localhost", &format!("/v1/builds/{id}")).unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        farm.ground.database.resume().unwrap();
        farm.assert_whole(&farm.made(&id));
    }
}

/// Each has made the cache that its operator named, whatever was asked of it.
fn all_are_warm(farm: &Farm) {
    for worker in &farm.workers {
        wait_until("it has a cache", PATIENCE, || worker.log().contains("builds have a warm cache").then_some(()));
    }
}

/// Also when nobody was there to put it away.
fn nothing_of_a_killed_worker_stays_mounted(mut worker: Platform) {
    let state = worker.state_dir().display().to_string();
    let mounted = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&state);
    assert!(mounted(), "its disks are");
    worker.kill().unwrap();
    let output = worker.down().unwrap();
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!mounted(), "they are unmounted");
}

#[test]
fn a_farm_loses_nothing_and_makes_the_same_everywhere() {
    let mut farm = Farm::start(3);
    let (build, elsewhere) = a_worker_is_killed(&mut farm);
    another_worker_makes_the_same(&farm, &build, elsewhere);
    s3_is_away_when_it_is_to_be_kept(&farm);
    the_database_is_away_in_the_middle(&farm);
    all_are_warm(&farm);
    nothing_of_a_killed_worker_stays_mounted(farm.workers.remove(0));
}
