//! Several processes on one PostgreSQL: apis, workers and janitors, each with a state
//! directory of its own, as if on machines of their own.

mod hosts;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shipway_testkit::http::Answer;
use shipway_testkit::{FileServer, Output, Platform, Postgres, Settings, http, wait_until};

use crate::images::root_file_system;
use crate::world::SOON;

/// Longer than a worker may be silent before it is taken for gone.
const NOTICED: Duration = Duration::from_secs(60);

/// Everything but the processes.
struct Ground {
    _server: Postgres,
    url: String,
    files: FileServer,
}

impl Ground {
    fn new() -> Self {
        let server = Postgres::start().unwrap();
        let url = server.url(&server.create(None).unwrap());
        Self { _server: server, url, files: FileServer::start().unwrap() }
    }

    fn settings(&self, roles: &str, further: &[(&str, &str)]) -> Settings {
        let mut environment = vec![
            ("DATABASE_URL".to_owned(), self.url.clone()),
            ("SHIPWAY_FETCH_ALLOW".to_owned(), self.files.address().to_string()),
            ("SHIPWAY_WORKER_LEASE_SECONDS".to_owned(), "3".to_owned()),
        ];
        if !roles.contains("api") {
            environment.push(("SHIPWAY_LISTEN".to_owned(), "127.0.0.1:0=services".to_owned()));
        }
        environment.extend(further.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Settings { environment, roles: Some(roles.to_owned()) }
    }

    fn begin(&self, roles: &str) -> Platform {
        Platform::begin(Path::new(env!("CARGO_BIN_EXE_shipway")), self.settings(roles, &[])).unwrap()
    }

    fn start(&self, roles: &str) -> Platform {
        let mut process = self.begin(roles);
        process.wait_ready();
        process
    }
}

#[track_caller]
fn ok(api: &Platform, words: &[&str]) -> Output {
    let output = api.cli(words).unwrap();
    assert_eq!(output.code, 0, "shipway {}: {}\n{}", words.join(" "), output.stdout, output.stderr);
    output
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn inspected(api: &Platform, name: &str) -> Value {
    json(&ok(api, &["inspect", name]).stdout)["service"].clone()
}

/// The worker of a service, among these processes.
fn instance(process: &Platform) -> String {
    std::fs::read_to_string(process.state_dir().join("instance")).unwrap()[..8].to_owned()
}

fn has(process: &Platform, service: &Value) -> bool {
    service["worker"]["id"].as_str().unwrap().ends_with(&instance(process))
}

fn visit(process: &Platform, service: &str) -> Answer {
    http::get(process.address(), &format!("{service}.localhost"), "/").unwrap()
}

#[track_caller]
fn visit_until(process: &Platform, service: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let mut last = None;
    wait_until(&format!("{service} answers as wanted"), SOON, || {
        last = process.visit(service, "/").ok();
        last.clone().filter(&wanted)
    })
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    shipway_stdx::fs::write_atomic(&path, text.as_bytes(), 0o644, shipway_stdx::fs::Durability::Process).unwrap();
    path.display().to_string()
}

/// One that came in at the api.
fn an_image_is_unpacked_where_it_runs(api: &Platform, home: &Path, workers: [&Platform; 2]) {
    root_file_system(&home.join("root"), "a page in an image\n");
    ok(api, &["image", "import", "box", &home.join("root").display().to_string()]);
    let serve = ["--", "httpd", "-f", "-p", "8000", "-h", "/www"];
    ok(api, &[&["deploy", "--image", "box", "--port", "8000", "--name", "web"][..], &serve[..]].concat());
    let service = inspected(api, "web");
    let host = workers.into_iter().find(|worker| has(worker, &service)).unwrap();
    assert_eq!(visit_until(host, "web", |answer| answer.status == 200).text(), "a page in an image\n");
}

#[test]
fn each_role_is_a_process_and_each_may_die() {
    let ground = Ground::new();
    // An api that comes first waits until a janitor has made the tables.
    let mut api = ground.begin("api,proxy");
    wait_until("it waits", SOON, || api.log().contains("waiting for the database").then_some(()));
    let _janitor = ground.start("janitor");
    api.wait_ready();
    let mut workers = [ground.start("worker,proxy"), ground.start("worker,proxy")];

    // What is uploaded to the api runs on one of the workers, and is asked for through the api.
    let home = tempfile::tempdir().unwrap();
    let script = file(home.path(), "hello.sh", "#!/bin/sh\necho uploaded; echo told >&2\n");
    ok(&api, &["deploy", &script, "--script", "--name", "hello"]);
    let service = inspected(&api, "hello");
    if !has(&workers[0], &service) {
        workers.swap(0, 1);
    }
    let [ref mut first, ref second] = workers;
    assert!(has(first, &service), "{service}");
    assert_eq!(visit_until(first, "hello", |answer| answer.status == 200).text(), "uploaded\n");
    for elsewhere in [second, &api] {
        let told = visit_until(elsewhere, "hello", |answer| answer.text().contains("lives on another machine"));
        assert_eq!(told.status, 503);
        assert!(told.text().contains(&instance(first)), "{}", told.text());
    }
    let lines = wait_until("its log is read", SOON, || {
        let lines = ok(&api, &["logs", "hello"]).stdout;
        lines.contains("told").then_some(lines)
    });
    assert!(lines.contains("told"));
    assert_eq!(ok(&api, &["exec", "hello", "--", "sh", "-c", "echo inside"]).stdout, "inside\n");
    let stats = json(&ok(&api, &["stats", "hello", "--json"]).stdout);
    assert!(stats["memory_bytes"].as_u64().unwrap() > 0, "{stats}");

    an_image_is_unpacked_where_it_runs(&api, home.path(), [first, second]);

    // The worker is killed: its visitors notice nothing, everybody else is told.
    first.kill().unwrap();
    assert_eq!(visit(first, "hello").text(), "uploaded\n");
    wait_until("it is shown as unreachable", NOTICED, || {
        ok(&api, &["ps"])
            .stdout
            .lines()
            .any(|line| line.starts_with("hello") && line.contains("unreachable"))
            .then_some(())
    });
    let refused = api.cli(&["logs", "hello"]).unwrap();
    assert!(refused.code != 0 && refused.stderr.contains("has not been heard of"), "{refused:?}");
    ok(&api, &["deploy", &script, "--script", "--name", "other"]);
    assert!(has(second, &inspected(&api, "other")), "other work goes elsewhere");
    assert_eq!(visit_until(second, "other", |answer| answer.status == 200).text(), "uploaded\n");

    // It comes back, and takes up what is its own.
    first.restart().unwrap();
    let script = file(home.path(), "hello.sh", "#!/bin/sh\necho again\n");
    ok(&api, &["deploy", &script, "--script", "--name", "hello"]);
    assert!(has(first, &inspected(&api, "hello")));
    assert_eq!(visit_until(first, "hello", |answer| answer.text() == "again\n").status, 200);

    // Another api, from nothing, knows it all; the first one dies.
    let another = ground.start("api,proxy");
    api.kill().unwrap();
    assert_eq!(ok(&another, &["exec", "hello", "--", "echo", "relayed"]).stdout, "relayed\n");
    assert!(ok(&another, &["ps"]).stdout.contains("other"));
}

/// What visitors see while it is redeployed: the one of before answers to its end.
fn a_slow_answer_survives_a_redeploy(api: &Platform, proxy: &Platform, home: &Path, round: u32) {
    let script = file(
        home,
        "slow.sh",
        &format!("#!/bin/sh\nif [ \"$QUERY_STRING\" = slow ]; then touch /tmp/at-work; sleep 3; fi\necho {round}\n"),
    );
    ok(api, &["deploy", &script, "--script", "--name", "slow"]);
    let now = format!("{round}\n");
    assert_eq!(visit_until(proxy, "slow", |answer| answer.text() == now).status, 200);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| http::get(proxy.address(), "slow.localhost", "/?slow").unwrap());
        let look = ["exec", "slow", "--", "test", "-e", "/tmp/at-work"];
        wait_until("it is at work", SOON, || (api.cli(&look).unwrap().code == 0).then_some(()));
        let script = file(home, "slow.sh", "#!/bin/sh\necho next\n");
        ok(api, &["deploy", &script, "--script", "--name", "slow"]);
        assert_eq!(visit(proxy, "slow").text(), "next\n", "it is reached when the deploy has answered");
        let slow = slow.join().unwrap();
        assert_eq!((slow.status, slow.text()), (200, now.clone()));
    });
}

/// A port that nobody has, and that the kernel gives to nobody who asks for any.
fn free_port() -> u16 {
    let mut below_ephemeral = 20_000..32_000;
    below_ephemeral.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[test]
fn on_one_machine_every_role_may_be_a_process() {
    let ground = Ground::new();
    let home = tempfile::tempdir().unwrap();
    let janitor = ground.start("janitor");
    // The api has to know where its proxy listens.
    let listen = format!("127.0.0.1:{}", free_port());
    let further = [("SHIPWAY_LISTEN", listen.as_str())];
    let settings = |roles: &str| Settings { roles: Some(roles.to_owned()), ..ground.settings("api", &further) };
    let begin = |roles| janitor.begin_beside(settings(roles)).unwrap();
    let mut all = [begin("api"), begin("worker"), begin("proxy")];
    all.iter_mut().for_each(Platform::wait_ready);
    // What a second of a kind is told.
    let mut second = janitor.begin_beside(settings("worker")).unwrap();
    wait_until("it is refused", SOON, || second.log().contains("is in use by process").then_some(()));
    second.kill().unwrap_or_default();
    drop(second);

    // The api is asked through the proxy, which is a process of another role.
    a_slow_answer_survives_a_redeploy(&all[2], &all[2], home.path(), 1);
    for (round, index) in [(2, 0), (3, 1), (4, 2)] {
        all[index].kill().unwrap();
        assert_eq!(visit(&all[2], "slow").text(), "next\n", "visitors notice nothing");
        all[index].restart().unwrap();
        a_slow_answer_survives_a_redeploy(&all[2], &all[2], home.path(), round);
    }
    drop(all);
}
