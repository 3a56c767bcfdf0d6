//! A finished sandbox that waits: nothing runs early, and nothing of it stays.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use shipway_shim::protocol::{Bind, CONTROL_SOCKET, EXIT_FILE, Gate, Launch, Launched, ProcessId, RUN_FILE};

use crate::socket;
use crate::world::{Container, World, is_alive, wait_until};

/// Longer than any test.
const LONG_MS: u64 = 120_000;

/// A sandbox at its gate.
struct Waiting {
    reply: OwnedFd,
    shim: ProcessId,
    init: ProcessId,
}

impl Waiting {
    fn new(world: &World, launch: &Launch) -> Self {
        let reply = world.send(&serde_json::to_vec(launch).unwrap(), None);
        match hear(&reply) {
            Some(Launched::Prepared { shim, init }) => Self { reply, shim, init },
            other => panic!("{other:?}"),
        }
    }

    fn open(&self) -> Option<Launched> {
        let word = serde_json::to_vec(&Gate::Open).unwrap();
        // An error is a shim that has gone: the reply says so.
        drop(socket::send(&self.reply, &word, &[]));
        hear(&self.reply)
    }

    fn status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.init.pid)).unwrap()
    }

    #[track_caller]
    fn assert_gone(shim: ProcessId, init: ProcessId, launch: &Launch) {
        wait_until("shim and child are gone", || !is_alive(shim.pid) && !is_alive(init.pid));
        assert!(!launch.run_dir.join(CONTROL_SOCKET).exists());
        for cgroup in &launch.cgroups {
            wait_until("nothing is left in the cgroup", || fs::remove_dir(&cgroup.path).is_ok());
        }
    }
}

fn hear(reply: &OwnedFd) -> Option<Launched> {
    let (bytes, _) = socket::receive(reply)?;
    Some(serde_json::from_slice(&bytes).expect("an answer of the protocol"))
}

fn gated(world: &World, script: &str) -> Launch {
    Launch { gate_ms: Some(LONG_MS), ..world.launch(script) }
}

fn kill(process: ProcessId) {
    kill_process(Pid::from_raw(process.pid).unwrap(), Signal::KILL).unwrap();
}

fn records(launch: &Launch) -> [Option<String>; 2] {
    [RUN_FILE, EXIT_FILE].map(|name| fs::read_to_string(launch.state_dir.join(name)).ok())
}

/// The container of an earlier run, and the launch of its next one, with a gate.
fn run_before(world: &World, script: &str) -> (Container, Launch) {
    let launch = gated(world, script);
    let first = world.start(&Launch { gate_ms: None, ..launch.clone() });
    first.wait();
    first.gone();
    (first, launch)
}

#[test]
fn nothing_runs_and_nothing_is_recorded_before_the_gate_opens() {
    let world = World::new();
    let (first, launch) = run_before(&world, "echo ran; exit 7");
    let before = records(&launch);
    let waiting = Waiting::new(&world, &launch);
    // Still our own program, its privileges given up.
    let shim = fs::read_link(format!("/proc/{}/exe", waiting.shim.pid)).unwrap();
    assert_eq!(fs::read_link(format!("/proc/{}/exe", waiting.init.pid)).unwrap(), shim);
    let status = waiting.status();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert_eq!(first.text(), "ran");
    assert_eq!(records(&launch), before, "the earlier run's");
    let Some(Launched::Running(run)) = waiting.open() else { panic!("it does not run") };
    assert_eq!((run.shim, run.init), (waiting.shim, waiting.init));
    let second = Container { run, state_dir: launch.state_dir.clone(), run_dir: launch.run_dir.clone() };
    second.gone();
    assert_eq!(second.wait().code, Some(7));
    assert_eq!(second.text(), "ran\nran");
    assert_ne!(records(&launch), before);
}

#[test]
fn it_goes_when_the_engine_hangs_up() {
    let world = World::new();
    let (_, launch) = run_before(&world, "exit 7");
    let before = records(&launch);
    let Waiting { reply, shim, init } = Waiting::new(&world, &launch);
    drop(reply);
    Waiting::assert_gone(shim, init, &launch);
    assert_eq!(records(&launch), before, "the earlier run's");
}

#[test]
fn it_goes_when_nobody_opens_the_gate_in_time() {
    let world = World::new();
    let launch = Launch { gate_ms: Some(30), ..world.launch("true") };
    let waiting = Waiting::new(&world, &launch);
    let Some(Launched::Failed { step, errno, .. }) = hear(&waiting.reply) else { panic!("it waits") };
    assert_eq!((step.as_str(), errno), ("wait at the gate", libc::ETIMEDOUT));
    Waiting::assert_gone(waiting.shim, waiting.init, &launch);
    assert_eq!(records(&launch), [None, None]);
}

#[test]
fn one_that_was_killed_does_not_run() {
    let world = World::new();
    let launch = gated(&world, "true");
    let waiting = Waiting::new(&world, &launch);
    kill(waiting.init);
    assert!(matches!(waiting.open(), Some(Launched::Failed { .. })));
    Waiting::assert_gone(waiting.shim, waiting.init, &launch);
    assert_eq!(records(&launch), [None, None]);

    let launch = gated(&world, "true");
    let waiting = Waiting::new(&world, &launch);
    kill(waiting.shim);
    assert_eq!(waiting.open(), None);
    wait_until("the child is gone too", || !is_alive(waiting.init.pid));
    assert_eq!(records(&launch), [None, None]);
}

#[test]
fn a_word_it_does_not_know_opens_nothing() {
    let world = World::new();
    let launch = gated(&world, "true");
    let waiting = Waiting::new(&world, &launch);
    socket::send(&waiting.reply, b"{\"gate\":\"ajar\"}", &[]).unwrap();
    let Some(Launched::Failed { step, .. }) = hear(&waiting.reply) else { panic!("it opened") };
    assert_eq!(step, "wait at the gate");
    Waiting::assert_gone(waiting.shim, waiting.init, &launch);
}

#[test]
fn what_cannot_be_made_is_said_before_the_gate() {
    let world = World::new();
    let mut launch = gated(&world, "true");
    let source = Path::new("/no/such/file").to_owned();
    launch.binds = vec![Bind { source, target: "/srv/x".into(), writable: false, executable: false }];
    let reply = world.send(&serde_json::to_vec(&launch).unwrap(), None);
    assert!(matches!(hear(&reply), Some(Launched::Failed { .. })));
    assert_eq!(hear(&reply), None, "and no more");
}
