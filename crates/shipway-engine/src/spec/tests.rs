//! A good specification, and one thing wrong at a time.

use std::path::PathBuf;

use shipway_shim::protocol::{Bind, InlineFile, LogLimits, Network, Process, Rlimit, Root, Tmpfs, Upper};

use super::{ContainerSpec, Ingress};
use crate::Limits;

fn good() -> ContainerSpec {
    ContainerSpec {
        id: "0c6bd0d2-7d1b-4b0e-8a44-4f1c1d0a8a11".to_owned(),
        labels: [("service".to_owned(), "hello".to_owned())].into(),
        root: Root::Tree { path: PathBuf::from("/image"), scratch: Tmpfs { size_bytes: 1 << 20, inodes: 100 } },
        process: Process {
            argv: vec!["/bin/true".to_owned()],
            env: vec!["PATH=/bin".to_owned(), "EMPTY=".to_owned()],
            cwd: PathBuf::from("/"),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            capabilities: 0,
            rlimits: Vec::new(),
            terminal: false,
        },
        binds: Vec::new(),
        files: Vec::new(),
        hostname: None,
        limits: Limits { memory_bytes: 64 << 20, cpu_millis: 1000, pids: 10 },
        network: Network::None { address: None },
        egress: None,
        ingress: Ingress::None,
        log: LogLimits { segment_bytes: 1 << 20, segments: 4 },
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut ContainerSpec), rule: &str) {
    let mut spec = good();
    change(&mut spec);
    let said = spec.check().map_err(|error| error.to_string());
    assert_eq!(said.unwrap_err().split(':').next(), Some(rule));
}

#[test]
fn a_good_one_passes_and_reads_back() {
    let spec = good();
    spec.check().unwrap();
    assert_eq!(spec.hostname(), "0c6bd0d2-7d1");
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ContainerSpec>(&text).unwrap(), spec);
}

#[test]
fn names_keep_their_rules() {
    for id in ["", "-x", "A", "a/b", "..", "a.b", &"a".repeat(41)] {
        check(|spec| spec.id = id.to_owned(), "id");
    }
    check(|spec| spec.hostname = Some("a b".to_owned()), "hostname");
    check(|spec| spec.hostname = Some(String::new()), "hostname");
    check(|spec| spec.labels.extend((0..65).map(|n| (n.to_string(), String::new()))), "labels");
}

#[test]
fn commands_keep_their_rules() {
    check(|spec| spec.process.argv.clear(), "process.argv");
    check(|spec| spec.process.argv[0].clear(), "process.argv");
    check(|spec| spec.process.argv.push("a\0b".to_owned()), "process.argv, env");
    check(|spec| spec.process.argv.push("a".repeat(200_000)), "process.argv, env");
    check(|spec| spec.process.env.push("NOVALUE".to_owned()), "process.env");
    check(|spec| spec.process.env.push("=x".to_owned()), "process.env");
    check(|spec| spec.process.cwd = "tmp".into(), "process.cwd");
    check(|spec| spec.process.uid = 65_536, "process.uid, gid, groups");
    check(|spec| spec.process.groups = vec![70_000], "process.uid, gid, groups");
    check(|spec| spec.process.terminal = true, "process.terminal");
    // CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_NET_ADMIN
    for capability in [21, 19, 12] {
        check(|spec| spec.process.capabilities = 1 << capability, "process.capabilities");
    }
    let crooked = Rlimit { resource: 7, soft: 2, hard: 1 };
    check(|spec| spec.process.rlimits.push(crooked), "process.rlimits");
}

#[test]
fn paths_stay_where_they_belong() {
    let bind = |target: &str| Bind { source: "/x".into(), target: target.into(), writable: false, executable: false };
    for target in ["/", "relative", "/a/../..", "/a\0b"] {
        check(|spec| spec.binds.push(bind(target)), "binds");
        let file = InlineFile { target: target.into(), text: String::new() };
        check(|spec| spec.files.push(file), "files");
    }
    check(|spec| spec.binds = vec![bind("/a"); 65], "binds, files");
    let overlay = |lowers: usize, upper: &str| Root::Overlay {
        lowers: vec![PathBuf::from("/l"); lowers],
        upper: Upper::Directory { path: upper.into() },
    };
    check(|spec| spec.root = overlay(0, "/u"), "root.lowers");
    check(|spec| spec.root = overlay(129, "/u"), "root.lowers");
    check(|spec| spec.root = overlay(1, "u"), "root.upper.path");
}

#[test]
fn numbers_keep_their_rules() {
    check(|spec| spec.limits.memory_bytes = 4096, "limits.memory_bytes");
    check(|spec| spec.limits.memory_bytes = u64::MAX, "limits.memory_bytes");
    check(|spec| spec.limits.cpu_millis = 9, "limits.cpu_millis");
    check(|spec| spec.limits.pids = 0, "limits.pids");
    check(|spec| spec.log.segments = 1, "log");
    let address = "127.0.0.1:0".parse().unwrap();
    check(|spec| spec.ingress = Ingress::Dialer { address }, "ingress.address");
}
