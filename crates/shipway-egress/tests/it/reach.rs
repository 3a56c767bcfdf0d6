//! What a container is there for: the public internet, behind the host's address.

use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use shipway_egress::{Policy, doctor};

use crate::world::{HOST, LIMIT, PORT, PUBLIC, World, sh, socket, tcp, udp};

#[test]
fn the_internet_is_reached_by_every_protocol_behind_the_hosts_address() {
    let world = World::new();
    let one = world.container(3, &Policy::default());
    assert!(one.attached.has_v6);
    for (address, host) in PUBLIC.iter().zip(HOST) {
        let caller = tcp(Some(&one.net), socket(address, PORT)).unwrap();
        assert_eq!(caller.to_string(), host, "the server sees the host, not the container");
        udp(Some(&one.net), None, socket(address, PORT), LIMIT).unwrap();
    }
    let seen = world.seen(&one).packets;
    assert!(seen.sent_bytes > 0 && seen.received_bytes > 0, "{seen:?}");
    assert_eq!((seen.special, seen.spoofed, seen.host, seen.neighbour), (0, 0, 0, 0), "{seen:?}");
}

#[test]
fn a_process_with_a_user_namespace_of_its_own_is_attached_by_its_pidfd() {
    let world = World::new();
    let mut process = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", "echo ready; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&process);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let attached = world.egress().attach(9, pidfd.as_fd(), &Policy::default()).unwrap();
    let inside = crate::world::Net(std::fs::File::open(format!("/proc/{}/ns/net", process.id())).unwrap());
    tcp(Some(&inside), socket(PUBLIC[0], PORT)).unwrap();
    assert!(inside.sh("ip -br addr show dev eth0").contains(&attached.addresses.v4.to_string()));
    drop(process.stdin.take());
    process.wait().unwrap();
    // It is gone: nobody can be attached by it, and nothing stays.
    let gone = world.egress().attach(9, pidfd.as_fd(), &Policy::default());
    assert!(matches!(gone, Err(shipway_egress::EgressError::Gone)), "{gone:?}");
    assert!(!sh("nft list ruleset").contains("out-9"));
}

#[test]
fn packets_are_as_large_as_the_hosts_way_out_takes() {
    let mut world = World::bare();
    sh("ip link set up0 mtu 1400");
    world.open();
    let one = world.container(1, &Policy::default());
    assert!(one.net.sh("ip link show dev eth0").contains("mtu 1400"));
}

#[test]
fn the_hosts_own_namespace_is_no_container() {
    let world = World::new();
    let own = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
    let refused = world.egress().attach(1, own.as_fd(), &Policy::default());
    assert!(matches!(refused, Err(shipway_egress::EgressError::Invalid(_))), "{refused:?}");
}

#[test]
fn this_kernel_has_all_that_is_needed() {
    let before = sh("ip link");
    assert_eq!(doctor::doctor().unwrap(), []);
    assert_eq!(sh("ip link"), before);
}
