//! Any process may be killed at any instruction.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shipway_testkit::{http, wait_until};

use crate::world::{SOON, World};

fn kill_9(pid: i32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Processes whose parent is `pid` or whose command line holds `word`.
fn processes_with(word: &str) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(word)
    })
    .collect()
}

/// A visitor who asks without pause and notes the longest time without a good answer.
struct Visitor {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Duration>,
    answers: Arc<Mutex<u64>>,
}

impl Visitor {
    fn start(world: &World, service: &str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (address, host) = (world.platform.address(), format!("{service}.localhost"));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&answers));
        let thread = std::thread::spawn(move || {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                if http::get(address, &host, "/").is_ok_and(|answer| answer.status == 200) {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                    *count.lock().unwrap() += 1;
                }
            }
            longest.max(last.elapsed())
        });
        let visitor = Self { stop, thread, answers };
        visitor.wait_for_more(10);
        visitor
    }

    #[track_caller]
    fn wait_for_more(&self, more: u64) {
        let now = *self.answers.lock().unwrap();
        wait_until("more good answers", SOON, || (*self.answers.lock().unwrap() >= now + more).then_some(()));
    }

    fn longest_silence(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn serve_is_killed_and_visitors_do_not_notice() {
    let mut world = World::new();
    world.script("steady", "#!/bin/sh\necho up\n");
    let container = world.ok(&["exec", "steady", "--", "hostname"]).stdout;
    let visitor = Visitor::start(&world, "steady");
    world.platform.kill().unwrap();
    visitor.wait_for_more(20);
    world.platform.restart().unwrap();
    visitor.wait_for_more(20);
    assert!(visitor.longest_silence() < Duration::from_secs(1));
    assert_eq!(world.ok(&["exec", "steady", "--", "hostname"]).stdout, container, "the container should have run on");
    world.script("steady", "#!/bin/sh\necho again\n");
    assert_eq!(world.visit("steady"), "again\n");
}

#[test]
fn the_proxy_is_killed_and_answers_again_within_a_second() {
    let world = World::new();
    world.script("steady", "#!/bin/sh\necho up\n");
    let visitor = Visitor::start(&world, "steady");
    let run = world.platform.run_dir().display().to_string();
    let proxies = processes_with(&format!("proxy --run-dir {run}"));
    assert_eq!(proxies.len(), 1, "{proxies:?}");
    kill_9(proxies[0]);
    visitor.wait_for_more(20);
    assert!(visitor.longest_silence() < Duration::from_secs(2));
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
    let visitor = Visitor::start(&world, "steady");
    kill_9(i32::try_from(run["shim"]["pid"].as_i64().unwrap()).unwrap());
    visitor.wait_for_more(20);
    assert!(visitor.longest_silence() < Duration::from_secs(2));
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
