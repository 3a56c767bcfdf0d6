//! A service's life, typed.

use serde_json::Value;
use shipway_api_types::LogStream;

use crate::typed::{typed, typed_at, typed_into_nothing};
use crate::world::{HELLO, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_lives_and_dies_at_the_command_line() {
    let world = World::start().await;
    let deployed = typed(&world, &format!("deploy {HELLO} --script")).await;
    assert_eq!(deployed.out, "hello is live: http://hello.localhost:8080\n");
    assert_eq!((deployed.code, deployed.err.as_str()), (0, ""));
    let again = typed(&world, &format!("deploy {HELLO} --script")).await;
    assert_eq!(again.out, "hello is unchanged: http://hello.localhost:8080\n");
    let quiet = typed(&world, &format!("-q deploy {HELLO} --static --name other")).await;
    assert_eq!(quiet.out, "http://other.localhost:8080\n");

    assert_eq!(typed(&world, "ps -q").await.out, "hello\nother\n");
    let table = typed(&world, "ps").await.out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME   STATE  RELEASE  KIND    AGE"), "{table}");
    assert!(lines[1].starts_with("hello  live   1        script  "), "{table}");

    assert_eq!(
        typed(&world, "stop hello other").await.err,
        "hello is stopped, release 1\nother is stopped, release 1\n"
    );
    assert_eq!(typed(&world, "ps -q --state stopped").await.out, "hello\nother\n");
    assert_eq!(typed(&world, "start hello").await.err, "hello is live, release 1\n");
    assert_eq!(typed(&world, "restart hello").await.code, 0);
    let refused = typed(&world, "rm hello").await;
    assert_eq!(refused.code, 2, "nobody is there to be asked");
    assert_eq!(typed(&world, "rm hello other --yes").await.err, "hello is gone\nother is gone\n");
    assert_eq!(typed(&world, "rm hello --yes").await.code, 3);
    assert_eq!(typed(&world, "rm hello --yes --force").await.code, 0);
    assert_eq!(typed(&world, "ps").await.err, "no services; `shipway deploy URL|FILE` makes one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_guessed_uploaded_and_deployed() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        let bytes = text.as_bytes();
        shipway_stdx::fs::write_atomic(&path, bytes, 0o600, shipway_stdx::fs::Durability::Process).unwrap();
        path.display().to_string()
    };
    let script = put("Report_1.txt", "#!/bin/sh\necho hi\n");
    let deployed = typed(&world, &format!("deploy {script} --env A=b=c --memory 64M --timeout 5s --cpus 0.25")).await;
    assert!(deployed.out.starts_with("report-1 is live"), "{deployed:?}");
    assert!(
        deployed.err.contains("taken for a script, run on every request, because it begins with #!"),
        "{deployed:?}"
    );
    let shown: Value = serde_json::from_str(&typed(&world, "inspect report-1").await.out).unwrap();
    assert_eq!(shown["service"]["kind"], "script");
    assert_eq!(shown["release"]["env"]["A"], "b=c");
    assert_eq!(shown["release"]["limits"]["memory_bytes"], 64 << 20);
    assert_eq!(shown["release"]["limits"]["request_timeout_ms"], 5000);
    assert_eq!(shown["release"]["limits"]["cpu_millis"], 250);
    assert_eq!(shown["release"]["source"]["file_name"], "Report_1.txt");

    let url = world.address("admin");
    let piped = typed_at(&url, "deploy - --name today --type text/html --static", b"<h1>hi</h1>").await;
    assert_eq!(piped.code, 0, "{piped:?}");
    let shown: Value = serde_json::from_str(&typed(&world, "inspect today").await.out).unwrap();
    assert_eq!(shown["release"]["source"]["size_bytes"], 11);
    assert_eq!(shown["release"]["source"]["content_type"], "text/html");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_listed_compared_and_gone_back_to() {
    let world = World::start().await;
    typed(&world, &format!("deploy {HELLO} --static")).await;
    typed(&world, &format!("deploy {HELLO} --script --pids 64")).await;
    let table = typed(&world, "releases hello").await.out;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..5], ["2", "live", "script", "100", "B"], "{table}");
    assert_eq!(rows[2][..3], ["1", "retired", "static"], "{table}");
    assert!(table.contains(HELLO));
    assert_eq!(
        typed(&world, "diff hello").await.out,
        "FIELD        RELEASE 1  RELEASE 2\n\
         kind         static     script\n\
         limits.pids  128        64\n"
    );
    assert_eq!(typed(&world, "diff hello 2 2").await.err, "releases 2 and 2 run alike\n");
    assert_eq!(typed(&world, "rollback hello").await.err, "hello is live, release 1\n");
    assert_eq!(typed(&world, "rollback hello 7").await.code, 3);
    let all: Value = serde_json::from_str(&typed(&world, "--json releases hello").await.out).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_events_and_stats_are_printed() {
    let world = World::start().await;
    let id = world.deploy("hello").await.id;
    world.live.print(&id, LogStream::Stderr, "one");
    world.live.print(&id, LogStream::Stdout, "two \u{1b}[31mred");
    assert_eq!(typed(&world, "logs hello").await.out, "one\ntwo \u{1b}[31mred\n", "a pipe gets what there is");
    assert_eq!(typed(&world, "logs hello -n 1 -t").await.out, "2026-11-22T00:00:02.000000Z two \u{1b}[31mred\n");
    assert_eq!(typed(&world, "logs hello --stream stderr").await.out, "one\n");
    let json: Value = serde_json::from_str(typed(&world, "--json logs hello -n 1").await.out.trim()).unwrap();
    assert_eq!(json["cursor"], "2");
    let events = typed(&world, "events hello").await.out;
    assert!(events.contains("Z  deploy asked for by local\n"), "{events}");
    assert!(events.contains("Z  release 1 is live\n"), "{events}");
    let stats = typed(&world, "stats").await.out;
    assert!(stats.contains("hello  0.0 %  1.0 MiB  256 MiB"), "{stats}");
    let json: Value = serde_json::from_str(&typed(&world, "--json stats hello").await.out).unwrap();
    assert_eq!((json["name"].as_str(), json["pids"].as_u64()), (Some("hello"), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_when_its_service_is_stopped() {
    let world = World::start().await;
    let id = world.deploy("hello").await.id;
    world.live.print(&id, LogStream::Stdout, "one");
    world.root().stop("hello", crate::world::PATIENCE).await.unwrap();
    world.live.end(&id);
    let followed = typed(&world, "logs -f hello").await;
    assert_eq!((followed.code, followed.out.as_str()), (0, "one\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_listed_and_revoked() {
    let world = World::start().await;
    let made = typed(&world, "token create ci --expires 30d").await;
    assert!(made.out.starts_with("shipway_") && made.out.ends_with('\n'), "{}", made.out.len());
    assert!(made.err.contains("this once"));
    let list = typed(&world, "token ls").await.out;
    assert!(!list.contains(made.out.trim()), "the secret is shown once");
    let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let line = format!("--token {} ps -q", made.out.trim());
    let url = world.address("public");
    assert_eq!(typed_at(&url, &line, b"").await.code, 0);
    assert_eq!(typed(&world, &format!("token rm {id}")).await.code, 0);
    assert_eq!(typed_at(&url, &line, b"").await.code, 4);
    assert_eq!(typed(&world, &format!("token rm {id}")).await.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_wait() {
    let world = World::start().await;
    world.at_work.send_replace(false);
    let asked = typed(&world, &format!("deploy {HELLO} --script --no-wait")).await;
    assert_eq!((asked.code, asked.out.as_str()), (0, "hello is being deployed: http://hello.localhost:8080\n"));
    let late = typed(&world, "stop hello --wait 0s").await;
    assert_eq!(late.code, 1, "{late:?}");
    assert!(
        late.err.ends_with("\nhint: it goes on by itself; `shipway events NAME` tells what becomes of it\n"),
        "{late:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_local_needs_no_server() {
    let nowhere = "unix:///nowhere/api.sock";
    for shell in ["bash", "zsh", "fish"] {
        let script = typed_at(nowhere, &format!("completions {shell}"), b"").await;
        assert!(script.code == 0 && script.out.contains("rollback"), "{shell}");
    }
    assert_eq!(typed_at(nowhere, "version", b"").await.out, concat!("shipway ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_ends_the_output_and_nobody_complains() {
    let world = World::start().await;
    world.deploy("hello").await;
    for line in ["ps", "--json ps", "events hello", "completions bash"] {
        assert_eq!(typed_into_nothing(&world, line).await, 0, "{line}");
    }
}
