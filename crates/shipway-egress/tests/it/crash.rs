//! Crashes, strangers' hands and the end: what is ours is put right or taken away, and
//! nothing else is touched.

use std::os::fd::AsFd as _;

use shipway_egress::{Config, EgressError, Policy};

use crate::world::{
    Container, INSTANCE, Net, PORT, PUBLIC, World, get, is_cut_off, living, nft, sh, socket, tcp, wait_until,
};

fn reaches(container: &Container) -> [bool; 2] {
    PUBLIC.map(|address| tcp(Some(&container.net), socket(address, PORT)).is_ok())
}

/// Everything of the host that we could have changed.
fn host() -> [String; 8] {
    [
        sh("nft -s list ruleset"),
        sh("ip -o link").replace(" qdisc noqueue", "").replace(" qdisc noop", ""),
        without_link_local(&sh("ip -o addr")),
        without_link_local(&sh("ip route show table all")),
        without_link_local(&sh("ip -6 route show table all")),
        get("ipv4/conf/up0/forwarding"),
        get("ipv4/ip_forward"),
        sh("find /proc/sys/net/ipv6/conf/up0 -name *forwarding -exec cat {} +"),
    ]
}

/// The kernel makes those itself, in its own time.
fn without_link_local(text: &str) -> String {
    text.lines().filter(|line| !line.contains("fe80")).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_left_at_the_end() {
    let mut world = World::bare();
    let before = host();
    world.open();
    let containers: Vec<Container> = (0..3).map(|slot| world.container(slot, &Policy::default())).collect();
    assert_eq!(get("ipv4/conf/up0/forwarding"), "1");
    assert_eq!(get("ipv4/ip_forward"), "0", "only the links concerned");
    assert_ne!(host(), before);
    world.egress().detach(containers[1].slot).unwrap();
    world.egress().detach(containers[1].slot).unwrap();
    world.egress().detach(77).unwrap();
    world.egress().teardown().unwrap();
    assert_eq!(host(), before);
    assert!(!world.memory().exists());
    world.egress().teardown().unwrap();
}

#[test]
fn connections_outlive_a_crash_of_ours() {
    use std::io::{Read as _, Write as _};
    let mut world = World::new();
    let one = world.container(1, &Policy::default());
    let two = world.container(2, &Policy::default());
    let mut stream = one.net.run(|| std::net::TcpStream::connect(socket(PUBLIC[0], PORT)).unwrap());
    stream.set_read_timeout(Some(crate::world::LIMIT)).unwrap();
    let mut hello = [0; 64];
    assert!(stream.read(&mut hello).unwrap() > 0);
    let index = || sh("ip -o link show up0") + &sh("ip -o link show sw01234567-1");
    let before = index();
    world.crash();
    world.open();
    let done = world.egress().reconcile(&living(&[&one, &two], &Policy::default())).unwrap();
    assert!(done.attached.is_empty() && done.mended.is_empty() && done.swept.is_empty(), "{done:?}");
    assert!(done.failed.is_empty(), "{done:?}");
    assert_eq!(index(), before, "the same links");
    stream.write_all(b"still here").unwrap();
    stream.read_exact(&mut hello[..10]).unwrap();
    assert_eq!(&hello[..10], b"still here");
    assert!(world.seen(&one).packets.sent_bytes > 0, "counters go on");
}

#[test]
fn what_strangers_took_away_is_put_back() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    let two = world.container(2, &Policy::default());
    let mend = || {
        let done = world.egress().reconcile(&living(&[&one, &two], &Policy::default())).unwrap();
        assert!(done.failed.is_empty(), "{done:?}");
        assert_eq!([reaches(&one), reaches(&two)], [[true; 2]; 2], "{done:?}");
        assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_err());
        done
    };
    let whole = sh("nft -s list ruleset");
    for damage in [
        "nft flush ruleset".to_owned(),
        format!("nft delete element inet shipway-{INSTANCE} out-of {{ sw01234567-1 }}"),
        format!("nft flush chain inet shipway-{INSTANCE} out-1"),
        format!("nft flush chain inet shipway-{INSTANCE} forward"),
        "ip addr del 10.201.0.1/32 dev sw01234567-2".to_owned(),
        "ip link set sw01234567-1 down".to_owned(),
        "sysctl -q -w net.ipv4.conf.up0.forwarding=0".to_owned(),
    ] {
        sh(&damage);
        mend();
        assert_eq!(sh("nft -s list ruleset"), whole, "{damage}");
    }
    sh("ip link del sw01234567-1");
    assert_eq!(mend().attached, [1]);
    // A flushed table: closed for whom it knows nothing about, and a newcomer is served.
    sh("nft flush ruleset");
    let three = world.container(3, &Policy::default());
    assert_eq!(reaches(&three), [true; 2]);
    assert!(is_cut_off(&one.net, PUBLIC[0]) && is_cut_off(&one.net, PUBLIC[1]));
}

#[test]
fn the_dead_are_swept_and_nobody_else() {
    let mut world = World::new();
    let one = world.container(1, &Policy::default());
    let two = world.container(2, &Policy::default());
    let gone = world.container(5, &Policy::default());
    // Another engine root on this host, and things that only look like ours.
    let other =
        Config { instance: "ba9876543210".to_owned(), memory: world.folder.path().join("other"), ..world.config() };
    let (other, _forwarder) = shipway_egress::Egress::open(other).unwrap();
    let theirs = Net::new();
    let there = other.attach(1, theirs.0.as_fd(), &Policy::default()).unwrap();
    assert_ne!(there.resolver, one.attached.resolver, "pools do not meet");
    nft("table inet shipway-somebody { chain out-5 { accept; }; }\n");
    sh("ip link add sw01234567-9 type veth peer name other9");
    sh("ip link set sw01234567-9 alias mine");
    sh("ip link add sw0123456-7 type veth peer name other7");
    world.crash();
    drop(gone.net);
    wait_until("the kernel ends the dead one's link", || !sh("ip -o link").contains("sw01234567-5@"));
    world.open();
    let done = world.egress().reconcile(&living(&[&one], &Policy::default())).unwrap();
    assert_eq!(done.swept, [2, 5]);
    assert_eq!(reaches(&one), [true; 2]);
    assert!(is_cut_off(&two.net, PUBLIC[0]), "swept");
    let links = sh("ip -o link");
    for kept in ["sw01234567-9@", "sw0123456-7@", "swba987654-1@", "sw01234567-1@"] {
        assert!(links.contains(kept), "{kept}: {links}");
    }
    assert!(sh("nft list tables").contains("shipway-somebody"));
    assert!(tcp(Some(&theirs), socket(PUBLIC[0], PORT)).is_ok());
    world.egress().teardown().unwrap();
    assert!(is_cut_off(&theirs, PUBLIC[0]), "forwarding was ours; they look again by themselves");
    let policy = Policy::default();
    other.reconcile(&[shipway_egress::Living { slot: 1, namespace: theirs.0.as_fd(), policy: &policy }]).unwrap();
    assert!(tcp(Some(&theirs), socket(PUBLIC[0], PORT)).is_ok());
}

#[test]
fn one_that_dies_meanwhile_hinders_nobody() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    let not_a_namespace = std::fs::File::open("/dev/null").unwrap();
    let policy = Policy::default();
    let known = [&one];
    let mut all = living(&known, &policy);
    all.insert(0, shipway_egress::Living { slot: 2, namespace: not_a_namespace.as_fd(), policy: &policy });
    let done = world.egress().reconcile(&all).unwrap();
    assert_eq!(done.failed.len(), 1);
    assert_eq!(reaches(&one), [true; 2]);
}

#[test]
fn a_pool_that_the_host_uses_is_passed_over() {
    let mut world = World::bare();
    sh("ip route add 10.201.128.0/24 via 11.0.0.1");
    sh("ip addr add 10.211.0.9/24 dev lo");
    world.open();
    assert_eq!(world.egress().resolver().v4.to_string(), "10.221.0.1");
    let one = world.container(1, &Policy::default());
    assert_eq!(reaches(&one), [true; 2]);
    // Afterwards it stays, also when another would now be free.
    sh("ip route del 10.201.128.0/24");
    world.crash();
    world.open();
    assert_eq!(world.egress().resolver().v4.to_string(), "10.221.0.1");
    let only = |pool: &str| Config {
        pools: vec![pool.parse().unwrap()],
        instance: "ffffffffffff".to_owned(),
        ..world.config()
    };
    let refused = |config| shipway_egress::Egress::open(config).map(|_| ()).unwrap_err();
    assert!(matches!(refused(only("11.0.0.0/16")), EgressError::NoPool));
    assert!(matches!(refused(only("10.0.0.0/24")), EgressError::Invalid(_)));
    assert!(matches!(refused(world.config()), EgressError::Owned(_)), "a second owner of one root");
}

#[test]
fn a_strangers_change_is_told_at_once_and_our_own_is_not() {
    let world = World::new();
    let _context = world.runtime.enter();
    let mut watch = world.egress().watch().unwrap();
    let one = world.container(1, &Policy::default());
    world.egress().reconcile(&living(&[&one], &Policy::default())).unwrap();
    let mut told =
        |within| world.runtime.block_on(async { tokio::time::timeout(within, watch.changed()).await.is_ok() });
    assert!(!told(std::time::Duration::from_millis(100)), "our own changes");
    sh("nft flush ruleset");
    assert!(told(crate::world::LIMIT));
    world.egress().reconcile(&living(&[&one], &Policy::default())).unwrap();
    assert_eq!(reaches(&one), [true; 2]);
    assert!(!told(std::time::Duration::from_millis(100)), "nor the mending of it");
    nft("table ip filter { chain forward { type filter hook forward priority 0; policy drop; }; }\n");
    assert!(told(crate::world::LIMIT), "nor is it only about our table");
}

#[test]
fn attaching_and_detaching_meanwhile_is_not_undone() {
    let world = World::new();
    let policy = Policy::default();
    let one = world.container(1, &policy);
    let two = world.container(2, &policy);
    // A list that was made a moment ago: without the newcomer, with one that has ended.
    world.egress().reconcile(&living(&[&one, &two], &policy)).unwrap();
    let three = world.container(3, &policy);
    world.egress().detach(2).unwrap();
    let done = world.egress().reconcile(&living(&[&one, &two], &policy)).unwrap();
    assert!(done.swept.is_empty() && done.attached.is_empty() && done.failed.is_empty(), "{done:?}");
    assert_eq!((reaches(&one), reaches(&three)), ([true; 2], [true; 2]));
    assert!(is_cut_off(&two.net, PUBLIC[0]));
    // And one whose slot is somebody else's by now.
    let next = world.container(2, &policy);
    let done = world.egress().reconcile(&living(&[&one, &two], &policy)).unwrap();
    assert!(done.swept.is_empty() && done.attached.is_empty() && done.mended.is_empty(), "{done:?}");
    assert_eq!(reaches(&next), [true; 2]);
}

#[test]
fn one_that_was_half_attached_is_finished() {
    let mut world = World::new();
    let one = world.container(1, &Policy::default());
    // As after a crash in the middle: nothing inside, and no mark yet.
    one.net.sh("ip link set eth0 down");
    one.net.sh("ip addr flush dev eth0");
    sh("ip link set sw01234567-1 down");
    crate::world::ip("link set dev sw01234567-1 alias \"\"");
    world.crash();
    world.open();
    let done = world.egress().reconcile(&living(&[&one], &Policy::default())).unwrap();
    assert!(done.failed.is_empty() && done.swept.is_empty(), "{done:?}");
    assert_eq!(reaches(&one), [true; 2]);
}
