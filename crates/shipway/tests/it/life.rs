//! A service's life, from its first deploy to its last.

use crate::world::World;

#[test]
fn a_file_and_a_script_answer_at_their_subdomains() {
    let world = World::new();
    let url = world.files.put("/page.html", "<h1>hello</h1>");
    let output = world.ok(&["deploy", &url, "--name", "page", "--static"]);
    assert!(output.stdout.contains("http://page.localhost:"), "{}", output.stdout);
    let answer = world.platform.visit("page", "/").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "<h1>hello</h1>"));
    assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer:?}");
    assert_eq!(world.platform.visit("page", "/other").unwrap().status, 404);

    world.script("clock", "#!/bin/sh\necho \"$REQUEST_METHOD $PATH_INFO $QUERY_STRING\"\n");
    let answer = world.platform.visit("clock", "/a/b?c=d").unwrap();
    assert_eq!(answer.text(), "GET /a/b c=d\n");
}

#[test]
fn a_service_is_redeployed_rolled_back_stopped_started_and_removed() {
    let world = World::new();
    world.script("greeter", "#!/bin/sh\necho one\n");
    assert_eq!(world.visit("greeter"), "one\n");
    world.script("greeter", "#!/bin/sh\necho two\n");
    assert_eq!(world.visit("greeter"), "two\n");

    // The same again changes nothing.
    let again = world.script("greeter", "#!/bin/sh\necho two\n");
    assert!(again.stdout.contains("unchanged") || again.stderr.contains("unchanged"), "{again:?}");
    let releases = world.ok(&["--json", "releases", "greeter"]).stdout;
    assert_eq!(releases.matches("\"number\"").count(), 2, "{releases}");

    // The origin is gone: going back must not need it.
    drop(world.files.put_status("/greeter", 500, "gone"));
    world.ok(&["rollback", "greeter", "1"]);
    assert_eq!(world.visit("greeter"), "one\n");

    world.ok(&["stop", "greeter"]);
    assert_eq!(world.platform.visit("greeter", "/").unwrap().status, 503);
    world.ok(&["start", "greeter"]);
    assert_eq!(world.visit("greeter"), "one\n");
    world.ok(&["restart", "greeter"]);
    assert_eq!(world.visit("greeter"), "one\n");
    world.ok(&["rm", "greeter", "--yes"]);
    assert_eq!(world.platform.visit("greeter", "/").unwrap().status, 404);
}

#[test]
fn a_release_that_does_not_become_ready_leaves_the_old_one_live() {
    let world = World::new();
    world.script("steady", "#!/bin/sh\necho fine\n");
    let url = world.files.put_status("/steady", 500, "broken origin");
    let output = world.platform.cli(&["deploy", &url, "--script", "--name", "steady"]).unwrap();
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("500"), "{output:?}");
    assert_eq!(world.visit("steady"), "fine\n");
}

#[test]
fn a_service_is_looked_into() {
    let world = World::new();
    world.script("talker", "#!/bin/sh\necho to the log >&2\necho to the visitor\n");
    assert_eq!(world.visit("talker"), "to the visitor\n");
    let logs = shipway_testkit::wait_until("the log has the line", crate::world::SOON, || {
        let logs = world.ok(&["logs", "talker"]).stdout;
        logs.contains("to the log").then_some(logs)
    });
    assert!(!logs.contains("to the visitor"), "{logs}");
    assert!(world.ok(&["ps"]).stdout.contains("talker"));
    let exec = world.ok(&["exec", "talker", "--", "sh", "-c", "echo I am $(id -u) in $(hostname)"]);
    assert!(exec.stdout.contains("I am "), "{exec:?}");
    let failed = world.platform.cli(&["exec", "talker", "--", "sh", "-c", "exit 7"]).unwrap();
    assert_eq!(failed.code, 7, "{failed:?}");
    assert!(world.ok(&["--json", "stats", "talker"]).stdout.contains("memory_bytes"));
    assert!(world.ok(&["events", "talker"]).stdout.contains("live"));
}

#[test]
fn a_python_script_outlives_its_hosts_python() {
    let world = World::new();
    world.script("py", "#!/usr/bin/env python3\nimport sys\nprint('python', sys.version_info.major)\n");
    assert_eq!(world.visit("py"), "python 3\n");
    // What the host does to its own python3 is shown by the host image's tests;
    // here: the image is a copy, so no file of the container is the host's.
    let inside =
        world.ok(&["exec", "py", "--", "python3", "-c", "import os; print(os.stat('/usr/bin/python3').st_ino)"]);
    let outside = std::fs::metadata("/usr/bin/python3").map(|m| std::os::unix::fs::MetadataExt::ino(&m)).unwrap();
    assert_ne!(inside.stdout.trim(), outside.to_string());
}
