//! Another process in a running container.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use shipway_shim::protocol::{Answer, Ask, EXECS_MAX, Process, TerminalSize};

use crate::world::{Container, World, answer, is_alive, process, tell, wait_until};

/// An exec under way, and our ends of its pipes.
struct Exec {
    connection: OwnedFd,
    input: Option<File>,
    output: File,
    pid: i32,
}

fn try_exec(container: &Container, process: Process) -> Result<Exec, Answer> {
    let connection = container.connect();
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let ((input, ours_in), (ours_out, output)) = (pipe(), pipe());
    tell(&connection, &Ask::Exec { process, size: None }, &[input.as_fd(), output.as_fd(), output.as_fd()]);
    match answer(&connection).0 {
        Answer::Executed { pid } => Ok(Exec { connection, input: Some(ours_in.into()), output: ours_out.into(), pid }),
        other => Err(other),
    }
}

fn exec(container: &Container, argv: &[&str]) -> Exec {
    try_exec(container, process(argv)).unwrap_or_else(|answer| panic!("{answer:?}"))
}

impl Exec {
    /// Its output to the end, and how it ended.
    fn finish(mut self) -> (String, Answer) {
        drop(self.input.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        (text, answer(&self.connection).0)
    }
}

fn exited(code: i32) -> Answer {
    Answer::Exited { code: Some(code), signal: None }
}

#[test]
fn it_runs_inside_with_its_own_stdio() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let mut exec = exec(&container, &["sh", "-c", "read line; echo got $line; hostname; exit 9"]);
    exec.input.as_mut().unwrap().write_all(b"word\n").unwrap();
    assert_eq!(exec.finish(), ("got word\ninside\n".into(), exited(9)));
    assert_eq!(container.log(), "", "its output is not the container's");
    container.end();
}

#[test]
fn it_is_as_confined_as_the_first_process() {
    let world = World::new();
    let launch = world.launch("sleep 1000");
    let container = world.start(&launch);
    let script = "grep -E 'NoNewPrivs|Seccomp:|CapBnd|CapEff' /proc/self/status | tr -s '\\t\\n' '  '; \
        ls /proc/self/fd | tr '\\n' ' '; grep -v ':/$' /proc/self/cgroup; cat /proc/self/uid_map | tr -s ' '; ip -o link | wc -l";
    let (text, _) = exec(&container, &["sh", "-c", script]).finish();
    let zeros = "0000000000000000";
    let base = launch.id_base;
    assert_eq!(text, format!("CapEff: {zeros} CapBnd: {zeros} NoNewPrivs: 1 Seccomp: 2 0 1 2 3  0 {base} 65536\n1\n"));
    let seen = "ls -di / /bin /dev; grep -c . /proc/self/mountinfo; readlink /proc/self/root; pwd";
    let (text, _) = exec(&container, &["sh", "-c", seen]).finish();
    let first = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.run.init.pid)).unwrap();
    assert!(text.contains(&format!("\n{}\n/\n/\n", first.lines().count())), "{text}");
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(world.root()).unwrap());
    assert_eq!(text.split_whitespace().next(), Some(inode.to_string().as_str()), "another root: {text}");
    let outside = exec(&container, &["sleep", "1000"]);
    for cgroup in &launch.cgroups {
        let members = std::fs::read_to_string(cgroup.path.join("cgroup.procs")).unwrap();
        assert!(members.lines().any(|pid| pid == outside.pid.to_string()), "{}", cgroup.path.display());
    }
    for namespace in ["pid", "mnt", "ipc", "uts", "net", "cgroup", "user"] {
        let of = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_eq!(of(outside.pid), of(container.run.init.pid), "{namespace}");
    }
    container.end();
}

#[test]
fn what_cannot_run_is_refused() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let refused = try_exec(&container, process(&["nowhere"])).err();
    let expected = Answer::Refused { errno: 2, detail: "execute the program: /bin/nowhere".into() };
    assert_eq!(refused, Some(expected));
    let connection = container.connect();
    tell(&connection, &Ask::Exec { process: process(&["true"]), size: None }, &[]);
    assert!(matches!(answer(&connection).0, Answer::Refused { .. }), "no stdio came");
    container.end();
}

#[test]
fn hanging_up_kills_it() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let exec = exec(&container, &["sleep", "1000"]);
    let pid = exec.pid;
    assert!(is_alive(pid));
    drop(exec);
    wait_until("it is gone", || !is_alive(pid));
    assert!(container.is_alive());
    container.end();
}

#[test]
fn its_asker_may_signal_it() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let exec = exec(&container, &["sleep", "1000"]);
    tell(&exec.connection, &Ask::Signal { signal: 15 }, &[]);
    assert_eq!(answer(&exec.connection).0, Answer::Done);
    assert_eq!(exec.finish().1, Answer::Exited { code: None, signal: Some(15) });
    assert!(container.is_alive());
    container.end();
}

#[test]
fn it_ends_with_its_container() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let exec = exec(&container, &["sleep", "1000"]);
    assert_eq!(container.ask(&Ask::Kill), Answer::Done);
    assert_eq!(answer(&exec.connection).0, Answer::Exited { code: None, signal: Some(9) });
    container.wait();
}

#[test]
fn a_killed_shim_takes_it_along() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let exec = exec(&container, &["sleep", "1000"]);
    let shim = rustix::process::Pid::from_raw(container.run.shim.pid).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    wait_until("both are gone", || !is_alive(exec.pid) && !container.is_alive());
}

#[test]
fn they_are_bounded() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let running: Vec<Exec> = (0..EXECS_MAX).map(|_| exec(&container, &["sleep", "1000"])).collect();
    assert!(try_exec(&container, process(&["true"])).is_err());
    drop(running);
    wait_until("there is room again", || try_exec(&container, process(&["true"])).is_ok());
    container.end();
}

#[test]
fn with_a_terminal_its_master_comes_back() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let mut process = process(&["sh", "-c", "tty; test -t 0 && echo terminal; stty size; read x; echo got $x"]);
    process.terminal = true;
    let connection = container.connect();
    let size = Some(TerminalSize { columns: 120, rows: 40 });
    tell(&connection, &Ask::Exec { process, size }, &[]);
    let (executed, mut beside) = answer(&connection);
    assert!(matches!(executed, Answer::Executed { .. }), "{executed:?}");
    let mut master: File = beside.remove(0).into();
    master.write_all(b"word\n").unwrap();
    let mut text = String::new();
    let mut chunk = [0; 512];
    // The end of a terminal is an error, EIO.
    while let Ok(count) = master.read(&mut chunk) {
        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
        if count == 0 || text.contains("got word") {
            break;
        }
    }
    assert!(text.contains("/dev/pts/0") && text.contains("terminal"), "{text}");
    assert!(text.contains("40 120"), "its size is there before the program: {text}");
    assert_eq!(answer(&connection).0, exited(0));
    container.end();
}

#[test]
fn a_hostile_container_cannot_hold_up_the_shim_by_stopping_entrants() {
    let world = World::new();
    let mut launch = world.launch(
        "while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; test $p != 1 && kill -STOP $p; done; done 2>/dev/null",
    );
    launch.process.capabilities = !0;
    let container = world.start(&launch);
    let pipes: Vec<_> = (0..10)
        .map(|_| {
            let connection = container.connect();
            let null = File::open("/dev/null").unwrap();
            tell(
                &connection,
                &Ask::Exec { process: process(&["sleep", "1000"]), size: None },
                &[null.as_fd(), null.as_fd(), null.as_fd()],
            );
            connection
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(container.ask(&Ask::Ping), Answer::Done);
    }
    drop(pipes);
    container.end();
}
