//! What a container must not reach, by every road there is, and where that is counted.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use shipway_egress::{Counters, Policy};

use crate::world::{
    Container, FORBIDDEN, HOST, LIMIT, Net, PORT, PUBLIC, World, nft, sh, socket, tcp, udp, wait_until,
};

/// Long enough that a packet that got through would have been answered, many times over.
const SILENCE: Duration = Duration::from_millis(300);

fn counter(seen: &Counters, name: &str) -> u64 {
    match name {
        "special" => seen.special,
        "metadata" => seen.metadata,
        "neighbour" => seen.neighbour,
        "host" => seen.host,
        "spoofed" => seen.spoofed,
        other => panic!("no counter {other}"),
    }
}

/// Refused at once by TCP and UDP, and each time under the right counter.
#[track_caller]
fn refused(world: &World, from: &Container, to: &str, port: u16, why: &str) {
    let before = counter(&world.seen(from).packets, why);
    let begun = Instant::now();
    let error = tcp(Some(&from.net), socket(to, port)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "TCP to {to}: {error}");
    // The kernel sends few ICMP messages a second, so the first refusals are told and
    // later ones may be silent.
    assert!(udp(Some(&from.net), None, socket(to, port), SILENCE).is_err(), "UDP to {to}");
    assert!(begun.elapsed() < LIMIT, "{to}");
    let after = counter(&world.seen(from).packets, why);
    assert!(after >= before + 2, "{to} counts as {why}: {before} → {after}, {:?}", world.seen(from).packets);
}

#[test]
fn private_reserved_and_metadata_addresses_are_refused_and_counted() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    let told = udp(Some(&one.net), None, socket(FORBIDDEN[0].0, PORT), LIMIT).unwrap_err();
    assert_ne!(told.kind(), ErrorKind::WouldBlock, "a refusal is told, not waited for");
    for (address, why) in FORBIDDEN {
        refused(&world, &one, address, PORT, why);
    }
    assert!(tcp(Some(&one.net), socket(PUBLIC[0], PORT)).is_ok(), "and the internet is still there");
}

#[test]
fn multicast_and_broadcast_go_nowhere() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    for to in ["224.0.0.251", "255.255.255.255", "240.0.0.1", "ff02::fb"] {
        one.net.run(|| {
            let socket = std::net::UdpSocket::bind(if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            socket.set_broadcast(true).unwrap();
            drop(socket.send_to(b"anybody there", crate::world::socket(to, 5353)));
        });
    }
    let seen = world.seen(&one).packets;
    assert!(seen.host + seen.special >= 1, "{seen:?}");
    assert_eq!(sh("ip -s -j link show up0").matches("\"multicast\":0").count(), 1, "nothing came back either");
}

#[test]
fn the_host_is_refused_under_all_its_addresses() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    let router = one.attached.resolver;
    world.serve(None, socket("0.0.0.0", 8080));
    for address in [HOST[0], HOST[1], &router.v4.to_string(), &router.v6.to_string()] {
        refused(&world, &one, address, PORT, "host");
        refused(&world, &one, address, 22, "host");
    }
    refused(&world, &one, &router.v4.to_string(), 8080, "host");
    // An address of another of the host's networks.
    sh("ip addr add 11.7.7.7/32 dev lo");
    refused(&world, &one, "11.7.7.7", 8080, "host");
    assert!(tcp(None, socket("11.7.7.7", 8080)).is_ok());
}

#[test]
fn a_published_port_of_the_host_is_the_host() {
    let world = World::new();
    nft("table ip published {
        chain pre {
            type nat hook prerouting priority dstnat;
            ip daddr 11.0.0.2 tcp dport 9090 dnat to 10.66.0.5:7000
            ip daddr 11.0.0.2 udp dport 9090 dnat to 10.66.0.5:7000
        }
        chain out {
            type nat hook output priority -100;
            ip daddr 11.0.0.2 tcp dport 9090 dnat to 10.66.0.5:7000
        }
    }");
    let one = world.container(1, &Policy::default());
    assert!(tcp(None, socket("11.0.0.2", 9090)).is_ok(), "published for others");
    refused(&world, &one, "11.0.0.2", 9090, "host");
    // And a redirection of everything to a proxy on the host is no way in.
    nft("table ip proxy {
        chain pre {
            type nat hook prerouting priority dstnat;
            tcp dport 80 redirect to :7000
        }
    }");
    let error = tcp(Some(&one.net), socket(PUBLIC[0], 80)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_neighbour_is_refused_even_where_private_networks_are_allowed() {
    let world = World::new();
    let all = ["10.0.0.0/8", "fc00::/7", "0.0.0.0/0", "::/0"].map(|text| text.parse().unwrap());
    let one = world.container(1, &Policy { allow: all.into(), ..Policy::default() });
    let two = world.container(2, &Policy::default());
    for address in [two.attached.addresses.v4.to_string(), two.attached.addresses.v6.to_string()] {
        world.serve(Some(&two.net), socket(&address, PORT));
        refused(&world, &one, &address, PORT, "neighbour");
    }
    // Nor from outside, though the host passes packets on for containers.
    world.internet.sh(&format!("ip route add {} via 11.0.0.2", two.attached.addresses.v4));
    let error = udp(Some(&world.internet), None, socket(&two.attached.addresses.v4.to_string(), PORT), SILENCE);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_ok(), "what is allowed is reached");
}

#[test]
fn nobody_speaks_in_anothers_name() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    let two = world.container(2, &Policy::default());
    let stolen = [two.attached.addresses.v4.to_string(), two.attached.addresses.v6.to_string()];
    for (address, to) in [
        (&*stolen[0], PUBLIC[0]),
        ("11.44.44.44", PUBLIC[0]),
        ("127.0.0.7", PUBLIC[0]),
        (&*stolen[1], PUBLIC[1]),
        ("2600:44::4", PUBLIC[1]),
    ] {
        let own = if address.contains(':') { "-6" } else { "-4" };
        // Inside it may have what addresses it likes.
        let (words, bits) = if own == "-6" { (" nodad", 128) } else { ("", 32) };
        one.net.sh(&format!("ip {own} addr add {address}/{bits} dev eth0{words}"));
        one.net.run(|| crate::world::set("ipv4/conf/all/route_localnet", "1"));
        let before = world.seen(&one).packets.spoofed;
        let error = udp(Some(&one.net), Some(address.parse().unwrap()), socket(to, PORT), SILENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{address}: {error}");
        wait_until("it is counted", || world.seen(&one).packets.spoofed > before);
    }
    assert_eq!(world.seen(&two).packets.sent_bytes, 0, "nothing was counted as the other's");
    // Names are not asked for in another's name either.
    let router = socket(&one.attached.resolver.v4.to_string(), 53);
    let error = udp(Some(&one.net), Some(stolen[0].parse().unwrap()), router, SILENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(world.seen(&two).names.asked, 0);
}

#[test]
fn the_host_does_not_become_a_router_for_others() {
    let mut world = World::bare();
    // Another network behind the host, which the internet knows how to address.
    let office = Net::new();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&office.0);
    sh(&format!("ip link add office type veth peer name eth0 netns /proc/{}/fd/{fd}", std::process::id()));
    for line in [
        "ip addr add 11.50.0.1/24 dev office",
        "ip -6 addr add 2600:50::1/64 dev office nodad",
        "ip link set office up",
    ] {
        sh(line);
    }
    for line in [
        "ip addr add 11.50.0.2/24 dev eth0",
        "ip -6 addr add 2600:50::2/64 dev eth0 nodad",
        "ip link set eth0 up",
        "ip route add default via 11.50.0.1",
        "ip -6 route add default via 2600:50::1",
    ] {
        office.sh(line);
    }
    world.internet.sh("ip route add 11.50.0.0/24 via 11.0.0.2");
    world.internet.sh("ip -6 route add 2600:50::/64 via 2600:1::2");
    for address in ["11.50.0.2", "2600:50::2"] {
        world.serve(Some(&office), socket(address, PORT));
        wait_until("the host itself reaches it", || tcp(None, socket(address, PORT)).is_ok());
    }
    let through = |world: &World, address: &str, wait| udp(Some(&world.internet), None, socket(address, PORT), wait);
    let ways = |world: &World, wait| ["11.50.0.2", "2600:50::2"].map(|address| through(world, address, wait).is_ok());
    assert_eq!(ways(&world, SILENCE), [false, false], "no router before");
    world.open();
    let one = world.container(1, &Policy::default());
    for address in PUBLIC {
        assert!(tcp(Some(&one.net), socket(address, PORT)).is_ok());
    }
    assert_eq!(ways(&world, SILENCE), [false, false], "and none because of us");
    // Somebody else makes it one: not ours to hinder any more.
    crate::world::set("ipv4/ip_forward", "1");
    crate::world::set("ipv6/conf/all/forwarding", "1");
    world.egress().reconcile(&crate::world::living(&[&one], &Policy::default())).unwrap();
    assert!(through(&world, "11.50.0.2", LIMIT).is_ok());
    // Before Linux 6.17 the host is an IPv6 router already, by us: a second will is not seen.
    if std::path::Path::new("/proc/sys/net/ipv6/conf/all/force_forwarding").exists() {
        assert!(through(&world, "2600:50::2", LIMIT).is_ok());
    }
}
