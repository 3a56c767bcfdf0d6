//! Any process may be killed at any instruction.

use std::fs;
use std::process::Command;
use std::time::Duration;

use shipway_testkit::wait_until;

use crate::visitors::Visitors;
use crate::world::{SOON, World, processes_with};

fn kill_9(pid: i32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn serve_is_killed_and_visitors_do_not_notice() {
    let mut world = World::new();
    world.script("steady", "#!/bin/sh\necho up\n");
    let container = world.ok(&["exec", "steady", "--", "hostname"]).stdout;
    let visitor = Visitors::start(&world, "steady", 1);
    world.platform.kill().unwrap();
    visitor.wait_for_more(20);
    world.platform.restart().unwrap();
    visitor.wait_for_more(20);
    assert!(visitor.end().longest_silence < Duration::from_secs(1));
    assert_eq!(world.ok(&["exec", "steady", "--", "hostname"]).stdout, container, "the container should have run on");
    world.script("steady", "#!/bin/sh\necho again\n");
    assert_eq!(world.visit("steady"), "again\n");
}

#[test]
fn the_proxy_is_killed_and_answers_again_within_a_second() {
    let world = World::new();
    world.script("steady", "#!/bin/sh\necho up\n");
    let visitor = Visitors::start(&world, "steady", 1);
    let run = world.platform.run_dir().display().to_string();
    let proxies = processes_with(&format!("proxy --run-dir {run}"));
    assert_eq!(proxies.len(), 1, "{proxies:?}");
    kill_9(proxies[0]);
    visitor.wait_for_more(20);
    assert!(visitor.end().longest_silence < Duration::from_secs(2));
}

#[test]
fn a_shim_is_killed_and_its_service_answers_again() {
    let world = World::new();
    world.script("steady", "#!/bin/sh\necho up\n");
    let containers = world.platform.state_dir().join("engine/containers");
    let run: serde_json::Value = fs::read_dir(&containers)
        .unwrap()
        .flatten()
        .find_map(|entry| serde_json::from_slice(&fs::read(entry.path().join("run.json")).ok()?).ok())
        .expect("one container runs");
    let visitor = Visitors::start(&world, "steady", 1);
    kill_9(i32::try_from(run["shim"]["pid"].as_i64().unwrap()).unwrap());
    visitor.wait_for_more(20);
    assert!(visitor.end().longest_silence < Duration::from_secs(2));
    let init = run["init"]["pid"].as_i64().unwrap();
    wait_until("the killed shim's container is gone", SOON, || {
        (!std::path::Path::new(&format!("/proc/{init}")).exists()).then_some(())
    });
    assert!(world.ok(&["events", "steady"]).stdout.contains("died"));
}

#[test]
fn down_leaves_nothing_behind() {
    let mut world = World::new();
    world.script("one", "#!/bin/sh\necho 1\n");
    world.script("two", "#!/bin/sh\necho 2\n");
    let state = world.platform.state_dir().display().to_string();
    let run = world.platform.run_dir().display().to_string();
    let instance = fs::read_to_string(world.platform.state_dir().join("engine/instance")).unwrap();
    let output = world.platform.down().unwrap();
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        output.stdout,
        format!("ended serve and 2 containers; {state} is kept, and what the next serve starts from\n")
    );
    assert_eq!(world.platform.down().unwrap().stdout, format!("nothing ran of {state}\n"));
    let nowhere = world.platform.cli(&["down", "--json", "--set", "state_dir=/nowhere"]).unwrap();
    let said: serde_json::Value = serde_json::from_str(&nowhere.stdout).unwrap();
    assert_eq!(said["found"], false, "{nowhere:?}");
    assert_eq!(processes_with(&state), [0; 0], "processes");
    assert_eq!(processes_with(&run), [0; 0], "processes");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&state) && !mounts.contains(instance.trim()), "{mounts}");
    let find =
        Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{}*", instance.trim())]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&find.stdout), "", "cgroups");
    // What was wanted comes back.
    world.platform.restart().unwrap();
    world.visit_until("one", |answer| answer.text() == "1\n");
    world.visit_until("two", |answer| answer.text() == "2\n");
}
