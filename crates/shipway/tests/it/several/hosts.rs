//! Three hosts and a database, each with a network of its own, and a cable that is pulled.
//!
//! The story's thread is where the database is; the hosts are namespaces that are plugged
//! into a switch there.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use shipway_testkit::{FileServer, Platform, Postgres, wait_until};

use super::{Ground, NOTICED, file, has, inspected, instance, json, ok, visit, visit_until};
use crate::world::SOON;

/// The database, on the switch.
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// Where a worker answers the api.
const STREAMS: u16 = 7070;
/// The lease of the story's workers, and what a task may take on top of it to be elsewhere.
const LEASE: Duration = Duration::from_secs(3);

fn sh(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

fn network_of_this_thread() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// A network that this thread may visit.
struct Net {
    own: File,
    outside: File,
}

/// This thread is elsewhere, and comes back.
struct Visit<'n>(&'n Net);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        setns(&self.0.outside, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

impl Net {
    /// A host with this last number, plugged into the switch of this thread's network.
    fn plugged(number: u8) -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            network_of_this_thread()
        };
        let own = std::thread::spawn(make).join().unwrap();
        let net = Self { own, outside: network_of_this_thread() };
        let there = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&net.own));
        sh(&format!("ip link add port{number} index 1{number} type veth peer index 2{number} name eth0 netns {there}"));
        sh(&format!("ip link set port{number} master switch up"));
        net.within(|| {
            sh("ip link set lo up");
            sh(&format!("ip addr add 10.78.0.{number}/24 dev eth0"));
            sh("ip link set eth0 up");
        });
        net
    }

    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        setns(&self.own, CloneFlags::CLONE_NEWNET).unwrap();
        let _visit = Visit(self);
        work()
    }
}

/// A process on a host of its own.
struct Host {
    net: Net,
    number: u8,
    process: Option<Platform>,
}

impl Host {
    fn start(ground: &Ground, number: u8, roles: &str) -> Self {
        let net = Net::plugged(number);
        let streams = format!("10.78.0.{number}:{STREAMS}");
        let settings = ground.settings(roles, &[("SHIPWAY_WORKER_LISTEN", &streams)]);
        let process = net.within(|| Platform::start(Path::new(env!("CARGO_BIN_EXE_shipway")), settings).unwrap());
        Self { net, number, process: Some(process) }
    }

    fn process(&self) -> &Platform {
        self.process.as_ref().unwrap()
    }

    fn within<T>(&self, work: impl FnOnce(&Platform) -> T) -> T {
        self.net.within(|| work(self.process()))
    }

    fn cable(&self, state: &str) {
        sh(&format!("ip link set port{} {state}", self.number));
    }

    fn containers(&self) -> usize {
        std::fs::read_dir(self.process().state_dir().join("engine/containers")).unwrap().count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Self { net, process, .. } = self;
        net.within(|| drop(process.take()));
    }
}

/// What the others call the worker of a host, once it has registered: it is ready a
/// moment before that, and on a busy disk a long one.
fn worker_of(api: &Platform, host: &Host) -> String {
    let short = instance(host.process());
    wait_until("the worker has registered", SOON, || {
        let workers = json(&ok(api, &["workers", "--json"]).stdout);
        let ids = workers.as_array()?.iter().filter_map(|worker| worker["id"].as_str());
        ids.filter(|id| id.ends_with(&short)).map(str::to_owned).next()
    })
}

#[test]
fn a_host_that_is_cut_off_serves_on_and_loses_only_its_work() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for line in [
        "ip link set lo up",
        "ip link add switch type bridge",
        &format!("ip addr add {DATABASE}/24 dev switch"),
        "ip link set switch up",
    ] {
        sh(line);
    }
    let server = Postgres::start().unwrap();
    server.listen(IpAddr::V4(DATABASE)).unwrap();
    let url = server.url_at(IpAddr::V4(DATABASE), &server.create(None).unwrap());
    let ground = Ground { _server: server, url, files: FileServer::start().unwrap() };
    let front = Host::start(&ground, 2, "api,janitor,proxy");
    let (near, far) = (Host::start(&ground, 3, "worker,proxy"), Host::start(&ground, 4, "worker,proxy"));
    let home = tempfile::tempdir().unwrap();
    let quick = file(home.path(), "quick.sh", "#!/bin/sh\necho quick\n");
    let slow = file(home.path(), "slow.sh", "#!/bin/sh\nsleep 6\necho slow\n");

    // Something lives on the far host, and something is just being made there.
    front.within(|api| {
        let spare = worker_of(api, &near);
        ok(api, &["workers", "cordon", &spare]);
        ok(api, &["deploy", &quick, "--script", "--name", "steady"]);
        assert!(has(far.process(), &inspected(api, "steady")));
        let words = ["deploy", &slow, "--script", "--name", "moving", "--health", "/", "--ready-within", "60s"];
        ok(api, &[&words[..], &["--no-wait"]].concat());
        wait_until("it is being made there", SOON, || (far.containers() == 2).then_some(()));
        ok(api, &["workers", "uncordon", &spare]);
    });
    let cut_at = Instant::now();
    far.cable("down");

    // It is made elsewhere, within the lease and a little.
    let taken_over =
        wait_until("it is being made elsewhere", NOTICED, || (near.containers() == 1).then(|| cut_at.elapsed()));
    assert!(taken_over < LEASE + Duration::from_secs(10), "{taken_over:?}");
    near.within(|near| visit_until(near, "moving", |answer| answer.text() == "slow\n"));
    // Who is cut off serves whoever is there, as before; everybody else is told.
    assert_eq!(far.within(|far| visit(far, "steady")).text(), "quick\n");
    front.within(|api| {
        wait_until("it is shown as unreachable", NOTICED, || {
            let all = ok(api, &["ps"]).stdout;
            all.lines().any(|line| line.starts_with("steady") && line.contains("unreachable")).then_some(())
        });
        let refused = api.cli(&["exec", "steady", "--", "true"]).unwrap();
        assert!(refused.code != 0 && refused.stderr.contains("has not been heard of"), "{refused:?}");
        let told = visit_until(api, "steady", |answer| answer.text().contains("not heard of"));
        assert_eq!(told.status, 503);
        assert!(has(near.process(), &inspected(api, "moving")));
    });

    // The cable is back: what it was making is no more, what lives there is taken up.
    far.cable("up");
    front.within(|api| {
        wait_until("it is heard of again", NOTICED, || {
            (inspected(api, "steady")["worker"]["reachable"] == true).then_some(())
        });
        assert_eq!(ok(api, &["exec", "steady", "--", "echo", "here"]).stdout, "here\n");
        ok(api, &["deploy", &quick, "--script", "--name", "steady", "--env", "A=1"]);
        assert!(has(far.process(), &inspected(api, "steady")));
        assert!(has(near.process(), &inspected(api, "moving")));
        assert_eq!(inspected(api, "moving")["release"], 1, "made once");
    });
    assert_eq!(near.within(|near| visit(near, "moving")).text(), "slow\n");
    // The one of before, while it drains, and the one of now: nothing of the lost task.
    wait_until("what was lost is gone", NOTICED, || (far.containers() <= 1).then_some(()));
}
