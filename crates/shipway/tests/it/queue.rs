//! What an operator sees of a whole platform: its queue, its figures, and what is forgotten.

use std::process::Command;

use serde_json::Value;
use shipway_testkit::wait_until;

use crate::world::{SOON, World};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn figures(world: &World) -> String {
    let socket = world.platform.run_dir().join("api.sock");
    let answer = Command::new("curl")
        .args(["-sS", "--max-time", "10", "--unix-socket"])
        .arg(socket)
        .arg("http://localhost/metrics")
        .output()
        .unwrap();
    String::from_utf8(answer.stdout).unwrap()
}

#[test]
fn the_queue_is_told_to_people_and_to_prometheus() {
    let world = World::new();
    world.script("hello", "#!/bin/sh\necho one\n");
    let tasks = json(&world.ok(&["tasks", "--service", "hello", "--kind", "deploy", "--json"]).stdout);
    assert_eq!((&tasks[0]["state"], &tasks[0]["attempts"]), (&"done".into(), &1.into()));
    let shown = world.ok(&["tasks", "show", tasks[0]["id"].as_str().unwrap()]).stdout;
    assert!(shown.contains("claimed") && shown.contains("done"), "{shown}");

    for line in [
        "shipway_store_up 1",
        "shipway_store_stale_writes_total 0",
        r#"shipway_queue_tasks{state="queued",kind="deploy"} 0"#,
        "shipway_queue_given_up_tasks 0",
        r#"shipway_services{state="live"} 1"#,
        r#"shipway_queue_wait_seconds_bucket{kind="deploy",try="first",le="+Inf"} 1"#,
        r#"shipway_queue_attempts_bucket{kind="deploy",state="done",le="1"} 1"#,
    ] {
        wait_until(line, SOON, || figures(&world).lines().any(|told| told == line).then_some(()));
    }
}

#[test]
fn content_that_no_release_needs_goes_and_a_rollback_has_its_own() {
    let world = World::with(&[("SHIPWAY_JANITOR_EVERY_SECONDS", "1"), ("SHIPWAY_JANITOR_RELEASES_KEEP", "1")]);
    let blobs = world.platform.state_dir().join("blobs/sha256");
    let count = || {
        Command::new("find").arg(&blobs).args(["-type", "f"]).output().unwrap().stdout.split(|b| *b == b'\n').count()
            - 1
    };
    let are_old = || {
        let old = Command::new("find")
            .arg(&blobs)
            .args(["-type", "f", "-exec", "touch", "-c", "-d", "3 days ago", "{}", ";"])
            .status();
        assert!(old.unwrap().success());
    };
    for text in ["one", "two", "three"] {
        world.script("hello", &format!("#!/bin/sh\necho {text}\n"));
    }
    // Something that was uploaded and never deployed.
    let page = world.platform.state_dir().with_file_name("page.html");
    shipway_stdx::fs::write_atomic(&page, b"<p>decoy", 0o644, shipway_stdx::fs::Durability::Process).unwrap();
    world.ok(&["deploy", page.to_str().unwrap(), "--name", "decoy"]);
    world.ok(&["rm", "decoy", "--yes"]);
    assert_eq!(count(), 4);
    are_old();
    wait_until("the decoy is gone", SOON, || (count() == 3).then_some(()));
    world.ok(&["rollback", "hello", "1"]);
    assert_eq!(world.visit("hello"), "one\n");
}
