//! What a container can see and do, looked at from inside.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;

use shipway_shim::protocol::{Ask, Bind, InlineFile, Launched, Network, Rlimit};

use crate::socket;
use crate::world::{World, answer, put, tell};

fn status(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[test]
fn identity_capabilities_and_filter_are_as_asked() {
    const NET_BIND_SERVICE: u64 = 1 << 10;
    const CHOWN: u64 = 1;
    let world = World::new();
    let mut launch = world.launch("");
    launch.process.argv = vec!["cat".into(), "/proc/self/status".into()];
    launch.process.capabilities = NET_BIND_SERVICE | CHOWN;
    launch.process.groups = vec![7, 9];
    let (text, _) = world.run(&launch);
    let seen = status(&text);
    let mask = format!("{:016x}", NET_BIND_SERVICE | CHOWN);
    for (name, expected) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapBnd", &mask),
        ("CapPrm", &mask),
        ("CapEff", &mask),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("Uid", "0\t0\t0\t0"),
        ("Gid", "0\t0\t0\t0"),
        ("Groups", "7 9"),
        ("SigBlk", "0000000000000000"),
        ("SigIgn", "0000000000000000"),
        ("Umask", "0022"),
    ] {
        assert_eq!(seen.get(name).map(String::as_str), Some(expected), "{name}");
    }
}

#[test]
fn another_user_has_no_capability_at_all() {
    let world = World::new();
    let mut launch = world.launch("cat /proc/self/status; echo x > /data/mine && cat /data/mine");
    launch.process.capabilities = 1;
    (launch.process.uid, launch.process.gid) = (1000, 1001);
    let (text, _) = world.run(&launch);
    let seen = status(&text);
    assert_eq!(seen["Uid"], "1000\t1000\t1000\t1000");
    assert_eq!(seen["Gid"], "1001\t1001\t1001\t1001");
    assert_eq!(seen["CapEff"], "0000000000000000");
    assert_eq!(seen["CapPrm"], "0000000000000000");
    assert_eq!(seen["CapBnd"], "0000000000000001");
    assert!(text.ends_with("\nx"), "its /data is its own");
}

#[test]
fn root_inside_is_nobody_outside() {
    let world = World::new();
    let launch = world.launch("cat /proc/self/uid_map /proc/self/gid_map; echo up; sleep 1000");
    let container = world.start(&launch);
    container.wait_for("up");
    let outside = fs::read_to_string(format!("/proc/{}/status", container.run.init.pid)).unwrap();
    let base = launch.id_base;
    assert_eq!(status(&outside)["Uid"], format!("{base}\t{base}\t{base}\t{base}"));
    let map: Vec<String> =
        container.text().lines().take(2).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(map, [format!("0 {base} 65536"), format!("0 {base} 65536")]);
    container.end();
}

#[test]
fn every_namespace_is_its_own() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    for namespace in ["pid", "mnt", "ipc", "uts", "net", "cgroup", "user"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_ne!(of(&container.run.init.pid.to_string()), of("self"), "{namespace}");
    }
    container.end();
}

#[test]
fn there_is_no_network_but_lo() {
    let world = World::new();
    let mut launch = world.launch("ip -o addr; ip -o link | wc -l; ip route");
    launch.network = Network::None { address: Some("10.99.0.7".parse().unwrap()) };
    let (text, _) = world.run(&launch);
    assert!(text.contains("127.0.0.1/8"), "{text}");
    assert!(text.contains("10.99.0.7/32"), "{text}");
    assert!(text.contains("\n1"), "one link: {text}");
    assert!(!text.contains("default"), "{text}");
}

#[test]
fn the_hosts_network_is_shared_when_asked_for() {
    let world = World::new();
    let mut launch = world.launch("readlink /proc/self/ns/net; ls /sys/class/net | grep -c lo; touch /sys/x 2>&1");
    launch.network = Network::Host;
    let (text, _) = world.run(&launch);
    let hosts = fs::read_link("/proc/self/ns/net").unwrap();
    assert!(text.starts_with(&format!("{}\n1\n", hosts.display())), "{text}");
    assert!(text.ends_with("Read-only file system"), "{text}");
}

#[test]
fn what_shows_the_host_is_masked() {
    let world = World::new();
    let script = "for file in interrupts kcore keys latency_stats timer_list timer_stats sched_debug; do \
        test -e /proc/$file && wc -c < /proc/$file; done; \
        for folder in /proc/acpi /proc/scsi /proc/asound /sys/firmware; do test -e $folder && ls $folder; done; \
        grep -v ':/$' /proc/self/cgroup; echo end";
    let (text, _) = world.run(&world.launch(script));
    let lines: Vec<&str> = text.lines().collect();
    let (last, masked) = lines.split_last().unwrap();
    assert_eq!(*last, "end");
    assert!(masked.len() >= 2 && masked.iter().all(|line| *line == "0"), "{text}");

    let script = "exec 2>&1; for file in /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/hostname /sys/kernel/profiling; do \
        echo 1 > $file; done; cat /proc/1/environ | tr '\\0' '\\n'; hostname; cat /etc/hostname";
    let (text, _) = world.run(&world.launch(script));
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
    assert!(text.ends_with("PATH=/bin\nHOME=/\ninside\ninside"), "{text}");
}

#[test]
fn mounts_are_its_own_and_few() {
    let world = World::new();
    let (text, _) = world.run(&world.launch("cat /proc/self/mountinfo"));
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for line in text.lines() {
        assert!(!line.contains("shared:") && !line.contains("master:"), "propagates: {line}");
        let point = line.split(' ').nth(4).unwrap();
        let is_device = point.starts_with("/dev/") && !["/dev/pts", "/dev/shm", "/dev/mqueue"].contains(&point);
        assert!(!line.contains("ext4") || point == "/", "{text}");
        let is_hidden = point.starts_with("/proc/");
        assert!(line.contains("nosuid"), "{line}");
        assert!(line.contains("nodev") || is_device || is_hidden || point.starts_with("/dev"), "{line}");
    }
    assert!(text.lines().count() < 45, "{text}");
    let root = text.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.contains(" ro,"), "{root}");
    assert!(!host.contains("/dev/mqueue shim"), "nothing reached the host");
}

#[test]
fn no_descriptor_leaks_in_and_the_listener_is_number_three() {
    let world = World::new();
    let (text, _) = world.run(&world.launch("ls /proc/self/fd; readlink /proc/self/cwd"));
    // ls itself has the directory open, as 3.
    assert_eq!(text, "0\n1\n2\n3\n/");

    let mut launch = world.launch("ls /proc/$$/fd; echo $LISTEN_FDS $LISTEN_PID; readlink /proc/$$/fd/3 | tr -d 0-9");
    launch.listener = true;
    let (one, _other) = socket::pair();
    let Launched::Running(run) = world.try_start(&launch, Some(one.as_fd())) else { panic!("it did not start") };
    let container =
        crate::world::Container { run, state_dir: launch.state_dir.clone(), run_dir: launch.run_dir.clone() };
    container.wait();
    // 10 is the shell's own, of its script.
    assert_eq!(container.text().replace("\n10", ""), "0\n1\n2\n3\n1 1\nsocket:[]");
}

#[test]
fn a_program_cannot_be_led_outside_by_its_working_directory() {
    let world = World::new();
    for descriptor in 0..100 {
        let mut launch = world.launch("pwd");
        launch.process.cwd = format!("/proc/self/fd/{descriptor}").into();
        let failed = world.try_start(&launch, None);
        assert!(matches!(failed, Launched::Failed { .. }), "descriptor {descriptor}: {failed:?}");
    }
}

#[test]
fn dangerous_calls_are_refused() {
    let world = World::new();
    let script = "exec 2>&1; mount -t tmpfs none /tmp; mknod /tmp/null c 1 3; unshare -m true; hostname other; \
        kill -0 2 2>/dev/null; ps | wc -l";
    let (text, _) = world.run(&world.launch(script));
    let refused = text.matches("not permitted").count() + text.matches("permission denied").count();
    assert_eq!(refused, 4, "{text}");
}

#[test]
fn devices_work() {
    let world = World::new();
    let script = "exec 2>&1; echo gone > /dev/null; head -c 4 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; \
        echo x > /dev/full; ls /dev | tr '\\n' ' '; echo; echo out > /dev/stdout; echo err > /dev/stderr; \
        echo s > /dev/shm/s; cat /dev/shm/s; touch /dev/new";
    let (text, _) = world.run(&world.launch(script));
    assert!(text.contains("4\n5\n"), "{text}");
    assert!(text.contains("No space left"), "{text}");
    assert!(
        text.contains("console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"),
        "{text}"
    );
    assert!(text.contains("out\nerr\ns") || text.contains("out\ns"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
}

#[test]
fn a_read_only_root_has_bounded_writable_places() {
    let world = World::new();
    let script = "exec 2>&1; touch /new /etc/new /bin/new /srv/new; for place in /tmp /run /var/tmp /data; do \
        echo $place > $place/file && cat $place/file; done; \
        dd if=/dev/zero of=/tmp/big bs=1M count=100 2>&1 | grep -c 'No space'; rm /tmp/big; \
        for n in $(seq 5000); do echo > /tmp/f$n || break; done 2>&1 | grep -c 'No space'; stat -c %a /tmp /data";
    let (text, _) = world.run(&world.launch(script));
    assert_eq!(text.matches("Read-only file system").count(), 4, "{text}");
    assert!(text.ends_with("/tmp\n/run\n/var/tmp\n/data\n1\n1\n1777\n755"), "{text}");
}

#[test]
fn binds_and_files_are_where_they_should_be() {
    let world = World::new();
    let host = world.folder.path();
    put(&host.join("content"), b"the content\n");
    put(&host.join("runner"), b"#!/bin/sh\necho runs\n");
    fs::create_dir(host.join("volume")).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    for (name, mode) in [("runner", 0o755), ("content", 0o600)] {
        fs::set_permissions(host.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let bind = |name: &str, target: &str, writable, executable| Bind {
        source: host.join(name),
        target: target.into(),
        writable,
        executable,
    };
    let mut launch = world.launch(
        "exec 2>&1; cat /srv/content; /.shipway/runner; echo x > /data/volume/x; echo y > /srv/content; touch /srv/more; \
         /srv/runner; cat /etc/hosts /run/deep/er/note; stat -c %u:%g /srv/content",
    );
    launch.binds = vec![
        bind("content", "/srv/content", false, false),
        bind("runner", "/.shipway/runner", false, true),
        bind("runner", "/srv/runner", false, false),
        bind("volume", "/data/volume", true, false),
    ];
    launch.files = vec![
        InlineFile { target: "/etc/hosts".into(), text: "10.0.0.1 given\n".into() },
        InlineFile { target: "/run/deep/er/note".into(), text: "noted\n".into() },
    ];
    let (text, _) = world.run(&launch);
    assert!(text.starts_with("the content\nruns\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(text.contains("Permission denied"), "not executable: {text}");
    assert!(text.ends_with("10.0.0.1 given\nnoted\n0:0"), "{text}");
    assert_eq!(fs::read_to_string(host.join("volume/x")).unwrap(), "x\n");
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(fs::metadata(host.join("volume/x")).unwrap().uid(), 0, "idmapped");
}

#[test]
fn a_link_in_the_image_leads_no_bind_outside() {
    let world = World::new();
    let victim = world.folder.path().join("victim");
    fs::create_dir(&victim).unwrap();
    put(&victim.join("file"), b"untouched");
    put(&world.folder.path().join("content"), b"mine");
    std::os::unix::fs::symlink(&victim, world.root().join("data/link")).unwrap();
    std::os::unix::fs::symlink("/../../../..", world.root().join("srv-link")).unwrap();
    for target in ["/srv-link/etc/passwd", "/proc/self/root/etc/x"] {
        let mut launch = world.launch("true");
        launch.binds = vec![Bind {
            source: world.folder.path().join("content"),
            target: target.into(),
            writable: false,
            executable: false,
        }];
        let failed = world.try_start(&launch, None);
        assert!(matches!(failed, Launched::Failed { .. }), "{target}: {failed:?}");
    }
    let mut launch = world.launch("true");
    launch.binds = vec![Bind {
        source: world.folder.path().join("root/srv-link"),
        target: "/srv/content".into(),
        writable: false,
        executable: false,
    }];
    let started = world.start(&launch);
    // The link itself is bound, which is of no use and no harm.
    started.wait();
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "untouched");
}

#[test]
fn limits_are_set_and_never_above_the_hosts() {
    let world = World::new();
    let mut launch = world.launch("ulimit -n; ulimit -Hn; ulimit -c");
    let limit = |resource: u32, soft, hard| Rlimit { resource, soft, hard };
    launch.process.rlimits = vec![limit(7, 99, 200), limit(4, 0, 0)];
    assert_eq!(world.run(&launch).0, "99\n200\n0");
    let mut launch = world.launch("ulimit -Hn");
    launch.process.rlimits = vec![limit(7, u64::from(u32::MAX), u64::from(u32::MAX))];
    // Set if this host lets us, else lowered to what it allows; never refused.
    assert_eq!(world.run(&launch).1.code, Some(0));
}

#[test]
fn the_kernels_killer_is_told_apart() {
    let world = World::new();
    let launch = world.launch("x=$(yes | head -c 200000000 | tr -d '\\n'); echo survived");
    let memory = launch.cgroups.iter().find(|one| one.path.starts_with("/sys/fs/cgroup/memory"));
    let (file, limit) = match memory {
        Some(v1) => (v1.path.join("memory.limit_in_bytes"), "33554432"),
        None => (launch.cgroups[0].path.join("memory.max"), "33554432"),
    };
    put(&file, limit.as_bytes());
    let (text, exit) = world.run(&launch);
    assert_ne!(text, "survived");
    assert!(exit.out_of_memory, "{exit:?}");
}

#[test]
fn without_a_filter_nothing_is_launched() {
    let empty = std::panic::catch_unwind(|| {
        let world = World::with(&[], Some(&[]));
        world.run(&world.launch("true"))
    });
    assert!(empty.is_err());
    let world = World::with(&["--tests-only-without-seccomp"], None);
    let (text, _) = world.run(&world.launch("grep Seccomp: /proc/self/status"));
    assert_eq!(text, "Seccomp:\t0");
}

#[test]
fn an_entrants_way_in_shows_nothing_of_the_shim() {
    // While processes enter all the time, a hostile one looks at each of them.
    let world = World::new();
    let script = "while :; do for process in /proc/[0-9]*; do \
        ls $process/fd $process/root 2>/dev/null | grep -q vmlinuz && echo LEAK; \
        readlink $process/exe; done; done | grep -v busybox";
    let mut launch = world.launch(script);
    launch.process.capabilities = !0;
    let container = world.start(&launch);
    for _ in 0..30 {
        let connection = container.connect();
        let (null, nulls) = (fs::File::open("/dev/null").unwrap(), fs::File::create("/dev/null").unwrap());
        let ask = Ask::Exec { process: crate::world::process(&["true"]), size: None };
        tell(&connection, &ask, &[null.as_fd(), nulls.as_fd(), nulls.as_fd()]);
        answer(&connection);
        answer(&connection);
    }
    assert_eq!(container.text(), "", "it saw another program than its own");
    container.end();
}
