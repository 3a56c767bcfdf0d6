//! Starts, ends, and who dies with whom.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use shipway_shim::protocol::{Answer, Ask, CONTROL_SOCKET, Launched, ProcessId, RUN_FILE, Run, VERSION};

use crate::world::{PATIENCE, World, answer, is_alive, put, tell, wait_until};

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a process"), signal).expect("it is alive");
}

fn start_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn exit_statuses_and_signals_are_recorded() {
    let world = World::new();
    let (text, exit) = world.run(&world.launch("echo hello; exit 7"));
    assert_eq!((text.as_str(), exit.code, exit.signal), ("hello", Some(7), None));
    assert_eq!(exit.version, VERSION);
    assert!(!exit.out_of_memory);

    let container = world.start(&world.launch("sleep 1000"));
    assert_eq!(container.ask(&Ask::Signal { signal: 9 }), Answer::Done);
    let exit = container.wait();
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert!(!exit.out_of_memory, "it was asked for");
}

#[test]
fn run_json_names_the_shim_and_the_first_process() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let on_disk: Run = serde_json::from_slice(&fs::read(container.state_dir.join(RUN_FILE)).unwrap()).unwrap();
    assert_eq!(on_disk, container.run);
    for ProcessId { pid, start_ticks: ticks } in [on_disk.shim, on_disk.init] {
        assert_eq!(start_ticks(pid), ticks);
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(on_disk.boot_id, boot_id.trim());
    container.end();
}

#[test]
fn nothing_of_an_ended_container_stays() {
    let world = World::new();
    let launch = world.launch("sleep 1000 & exit 0");
    let container = world.start(&launch);
    container.wait();
    container.gone();
    assert!(!container.run_dir.join(CONTROL_SOCKET).exists());
    for cgroup in &launch.cgroups {
        let left = fs::read_to_string(cgroup.path.join("cgroup.procs")).unwrap();
        assert_eq!(left, "", "in {}", cgroup.path.display());
    }
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", world.launcher())).unwrap();
    let of_containers = mounts.lines().filter(|line| line.contains("overlay") || line.contains(" /root "));
    assert_eq!(of_containers.count(), 0, "{mounts}");
}

#[test]
fn a_killed_shim_takes_its_container_along() {
    let world = World::new();
    let launch = world.launch("sleep 1000 & echo up; sleep 1000");
    let container = world.start(&launch);
    container.wait_for("up");
    let start = std::time::Instant::now();
    kill(container.run.shim.pid, Signal::KILL);
    wait_until("the container is gone", || {
        launch.cgroups.iter().all(|cgroup| fs::read_to_string(cgroup.path.join("cgroup.procs")).unwrap().is_empty())
    });
    wait_until("its first process is gone", || !container.is_alive());
    assert!(start.elapsed() < PATIENCE / 10);
}

#[test]
fn a_container_outlives_its_launcher_and_engine() {
    let mut world = World::new();
    let first = world.start(&world.launch("echo up; sleep 1000"));
    let second = world.start(&world.launch("echo up; sleep 1000"));
    world.kill_launcher();
    for container in [&first, &second] {
        container.wait_for("up");
        assert_eq!(container.ask(&Ask::Ping), Answer::Done);
        assert!(container.is_alive());
    }
    first.end();
    second.end();
}

#[test]
fn a_launcher_ends_with_its_engine_though_containers_run() {
    let mut world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    world.hang_up();
    assert_eq!(container.ask(&Ask::Ping), Answer::Done);
    container.end();
}

#[test]
fn ended_shims_are_reaped() {
    let world = World::new();
    let containers: Vec<_> = (0..5).map(|_| world.start(&world.launch("true"))).collect();
    for container in &containers {
        container.wait();
        let shim = format!("/proc/{}", container.run.shim.pid);
        wait_until("no zombie of the shim stays", || !Path::new(&shim).exists());
    }
}

#[test]
fn launches_are_concurrent() {
    let world = World::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let world = &world;
            scope.spawn(move || {
                let launch = world.launch(&format!("echo {number}"));
                let (text, exit) = world.run(&launch);
                assert_eq!((text, exit.code), (number.to_string(), Some(0)));
            });
        }
    });
}

#[test]
fn a_container_can_be_started_again_in_its_place() {
    let world = World::new();
    let launch = world.launch("echo again; exit 3");
    for _ in 0..3 {
        let container = world.start(&launch);
        assert_eq!(container.wait().code, Some(3));
    }
    let (text, _) = world.run(&launch);
    assert_eq!(text, "again\nagain\nagain\nagain");
}

#[track_caller]
fn check_failure(world: &World, change: impl FnOnce(&mut shipway_shim::protocol::Launch), expected: &str) {
    let mut launch = world.launch("sleep 1000");
    change(&mut launch);
    let Launched::Failed { step, errno, detail } = world.try_start(&launch, None) else {
        panic!("it started");
    };
    assert_eq!(format!("{step}, {errno}, {detail}"), expected);
    let left: Vec<_> = [&launch.state_dir, &launch.run_dir]
        .into_iter()
        .filter(|folder| folder.exists())
        .flat_map(|folder| fs::read_dir(folder).unwrap().flatten())
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    for cgroup in launch.cgroups.iter().filter(|cgroup| cgroup.path.exists()) {
        assert_eq!(fs::read_to_string(cgroup.path.join("cgroup.procs")).unwrap(), "");
    }
}

#[test]
fn a_failed_start_says_which_step_and_leaves_nothing() {
    let world = World::new();
    check_failure(
        &world,
        |launch| launch.process.argv = vec!["nowhere".into()],
        "execute the program, 2, /bin/nowhere",
    );
    check_failure(
        &world,
        |launch| launch.process.argv = vec!["/etc/hosts".into()],
        "execute the program, 13, /etc/hosts",
    );
    check_failure(&world, |launch| launch.process.cwd = "/missing".into(), "enter the working directory, 2, /missing");
    check_failure(&world, |launch| launch.process.argv.clear(), "check the launch, 0, no program is named");
    check_failure(&world, |launch| launch.id_base = 0, "check the launch, 0, its ids would be the host's");
    check_failure(&world, |launch| launch.version = 99, "check the launch, 0, its version is not ours");
    check_failure(
        &world,
        |launch| launch.listener = true,
        "check the launch, 0, its listening socket did not come with it",
    );
    // A v1 cgroup is joined by its `tasks`, a v2 one as a directory.
    let joined_by = if world.launch("true").cgroups[0].v2 { "" } else { "/tasks" };
    check_failure(
        &world,
        |launch| launch.cgroups[0].path = "/sys/fs/cgroup/none".into(),
        &format!("open a cgroup, 2, /sys/fs/cgroup/none{joined_by}"),
    );
    check_failure(
        &world,
        |launch| {
            launch.root = shipway_shim::protocol::Root::Tree {
                path: "/nowhere".into(),
                scratch: shipway_shim::protocol::Tmpfs { size_bytes: 1 << 20, inodes: 100 },
            }
        },
        "clone the root, 2, /nowhere",
    );
}

#[test]
fn a_start_that_is_killed_on_its_way_fails() {
    let world = World::new();
    let mut launch = world.launch("true");
    // Too little for the program to be loaded, so the kernel's killer ends the child.
    let memory = launch.cgroups.iter().find(|cgroup| cgroup.path.starts_with("/sys/fs/cgroup/memory"));
    let Some(memory) = memory else { return };
    put(&memory.path.join("memory.limit_in_bytes"), b"8192");
    launch.process.env = vec![format!("LONG={}", "x".repeat(60_000)); 1];
    match world.try_start(&launch, None) {
        Launched::Failed { step, .. } => assert_eq!(step, "wait for the program to start"),
        other => panic!("it started in two pages: {other:?}"),
    }
}

#[test]
fn nonsense_is_answered_and_harms_nobody() {
    let world = World::new();
    for nonsense in [b"{}".as_slice(), b"\xff\xfe", b"{\"version\":1}", &[b'['; 60_000]] {
        let (bytes, _) = world.try_raw(nonsense, None).expect("an answer");
        let Launched::Failed { step, .. } = serde_json::from_slice(&bytes).unwrap() else {
            panic!("it started");
        };
        assert_eq!(step, "read the launch");
    }
    assert_eq!(world.run(&world.launch("exit 5")).1.code, Some(5));
}

#[test]
fn who_waits_is_told_after_exit_json_is_written() {
    let world = World::new();
    let launch = world.launch("trap 'exit 4' TERM; echo up; while :; do sleep 1000 & wait; done");
    let container = world.start(&launch);
    container.wait_for("up");
    let waiting = container.connect();
    tell(&waiting, &Ask::Wait, &[]);
    assert_eq!(container.ask(&Ask::Signal { signal: 15 }), Answer::Done);
    assert_eq!(answer(&waiting).0, Answer::Exited { code: Some(4), signal: None });
    assert!(container.state_dir.join("exit.json").exists());
    assert!(!is_alive(container.run.init.pid));
}
