//! The process: what it may do, how it ends, how another takes over.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::Duration;

use shipway_proxy::{User, wire};

use crate::support::*;

/// A user that owns nothing here and is not `nobody`.
const USER: User = User { uid: 62_345, gid: 62_346 };

fn proc_status(pid: u32) -> BTreeMap<String, String> {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().replace('\t', " ")))
        .collect()
}

fn unprivileged() -> World {
    World::with(|settings| {
        std::fs::set_permissions(&settings.run_dir, PermissionsExt::from_mode(0o755)).unwrap();
        let snapshots = settings.run_dir.join("routes");
        std::fs::create_dir(&snapshots).unwrap();
        std::os::unix::fs::chown(&snapshots, Some(USER.uid), Some(USER.gid)).unwrap();
        settings.snapshot_dir = snapshots;
        settings.user = Some(USER);
    })
}

#[test]
fn no_privilege_is_left() {
    let world = unprivileged();
    let origin = world.answering("hello", ok("hi"));
    std::fs::set_permissions(&origin.path, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(body(&world.get("hello.localhost")), "hi");
    let pid = world.child.id();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for thread in threads {
        let thread = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let status = proc_status(thread);
        assert_eq!(status["Uid"], "62345 62345 62345 62345");
        assert_eq!(status["Gid"], "62346 62346 62346 62346");
        assert_eq!(status["Groups"], "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(status["Umask"], "0077");
    }
    // Not dumpable: its files in /proc are root's.
    let owner = std::fs::metadata(format!("/proc/{pid}/mem")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: u64 = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    // Where even root may not raise it (a container of somebody else's), all there is.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    assert!(files >= (2 * 16_384).min(most.unwrap_or(u64::MAX)), "{files}");
    let file = world.settings.snapshot_dir.join("routes.json");
    wait_until("the routes are saved", || file.exists());
}

#[test]
fn the_control_socket_is_roots_alone() {
    let world = unprivileged();
    let path = world.path(wire::CONTROL_SOCKET);
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    // Even where the file's mode would let it in, the kernel's word counts.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let mut command = std::process::Command::new("python3");
    std::os::unix::process::CommandExt::uid(&mut command, 62_999);
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(10)\ns.connect(sys.argv[1])\n\
                  try:\n  s.sendall(b'{\"ask\":\"hello\",\"version\":1,\"instance\":\"test\"}\\n')\n  print(s.recv(100))\n\
                  except ConnectionError:\n  print(b'')\n";
    let output = command.arg("-c").arg(script).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "b''", "{output:?}");
    assert!(world.feed.is_connected(), "a stranger must not displace the control plane");
}

#[test]
fn root_is_no_user_to_become() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = World::new().settings.clone();
    settings.run_dir = dir.path().to_owned();
    settings.user = Some(User { uid: 0, gid: 0 });
    let config = shipway_proxy::ProxyConfig {
        settings,
        listeners: vec![shipway_proxy::Listener {
            name: "l".to_owned(),
            serves: shipway_proxy::Serves::Both,
            socket: listener,
        }],
    };
    let mut child = shipway_proxy::startup::start(&program(), &["error"], &config).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn leaked_descriptors_are_closed() {
    let world = World::new();
    world.answering("hello", ok("hi"));
    let pid = world.child.id();
    // The first three are whatever the test itself was started with.
    let number = |entry: &std::fs::DirEntry| entry.file_name().to_str().unwrap().parse::<u32>().unwrap();
    let open: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| number(entry) > 2)
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|link| link.to_str().unwrap().to_owned())
        .collect();
    let strange: Vec<_> = open
        .iter()
        .filter(|link| !["socket:", "anon_inode:", "pipe:"].iter().any(|ours| link.starts_with(ours)))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn on_sigterm_it_finishes_what_is_in_flight() {
    let mut world = World::new();
    let (finish, finishes) = std::sync::mpsc::channel::<()>();
    let finishes = std::sync::Mutex::new(finishes);
    world.origin("hello", move |stream, _| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi").unwrap();
        finishes.lock().unwrap().recv().unwrap();
        stream.write_all(b"ne").unwrap();
    });
    let mut idle = world.connect();
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    read_until(&mut visitor, "fi");
    signal(&world.child, rustix::process::Signal::TERM);
    assert_eq!(read_to_end(&mut idle), "", "an idle connection is closed");
    assert!(world.child.try_wait().unwrap().is_none());
    finish.send(()).unwrap();
    assert_eq!(read_to_end(&mut visitor), "ne");
    assert!(world.child.wait().unwrap().success());
}

#[test]
fn a_drain_is_bounded() {
    let mut world = World::limited(|limits| limits.drain = Duration::from_millis(100));
    world.origin("hello", |stream, _| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").unwrap();
        read_to_end(stream);
    });
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    read_until(&mut visitor, "ha");
    signal(&world.child, rustix::process::Signal::TERM);
    assert_eq!(read_to_end(&mut visitor), "");
    assert!(world.child.wait().unwrap().success());
}

/// What an upgrade of `serve` does: adopt the listeners of a living proxy, start
/// another on them, let the old one drain.
#[test]
fn another_proxy_takes_over_the_listeners() {
    let mut world = World::new();
    world.answering("hello", ok("hi"));
    let mut kept = world.connect();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    read_until(&mut kept, "hi");
    let file = world.settings.snapshot_dir.join("routes.json");
    wait_until("the routes are saved", || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("id-hello")));
    let listeners = world.runtime.block_on(world.feed.listeners()).unwrap();
    assert_eq!(listeners[0].socket.local_addr().unwrap(), world.address);
    let config = shipway_proxy::ProxyConfig { settings: world.settings.clone(), listeners };
    let new = shipway_proxy::startup::start(&program(), &["warn"], &config).unwrap();
    let socket = world.path(wire::CONTROL_SOCKET);
    let before = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&socket).unwrap());
    wait_until("the new one has its control socket", || {
        std::fs::metadata(&socket).is_ok_and(|now| std::os::unix::fs::MetadataExt::ino(&now) != before)
    });
    world.runtime.block_on(world.feed.drain_and_exit(LIMIT)).unwrap();
    assert!(world.child.wait().unwrap().success());
    world.child = new;
    for _ in 0..10 {
        assert_eq!(body(&world.get("hello.localhost")), "hi");
    }
    assert_eq!(read_to_end(&mut kept), "");
    world.await_feed();
    assert_eq!(world.metric("routes"), 1);
}
