//! `network.allow`: what it opens, and what it never does.

use shipway_egress::{Allow, Policy};

use crate::world::{LIMIT, PORT, World, living, socket, tcp, udp};

fn policy(allow: &[&str]) -> Policy {
    let allow = allow.iter().map(|text| text.parse::<Allow>().unwrap()).collect();
    Policy { allow, ..Policy::default() }
}

#[test]
fn a_block_opens_its_addresses_and_a_pair_one_port() {
    let world = World::new();
    let one = world.container(1, &policy(&["10.66.0.0/16", "192.168.77.1:7000", "172.20.0.5:7001", "fd66::/16"]));
    for address in ["10.66.0.5", "192.168.77.1", "fd66::5"] {
        tcp(Some(&one.net), socket(address, PORT)).unwrap();
        udp(Some(&one.net), None, socket(address, PORT), LIMIT).unwrap();
    }
    assert!(tcp(Some(&one.net), socket("172.20.0.5", PORT)).is_err(), "another port");
    assert!(tcp(Some(&one.net), socket("100.64.1.1", PORT)).is_err(), "not listed");
    assert!(world.seen(&one).packets.special >= 2);
}

#[test]
fn a_metadata_service_is_opened_by_its_own_name_only() {
    let world = World::new();
    let wide = world.container(1, &policy(&["169.254.0.0/16", "0.0.0.0/0", "fd00::/8"]));
    assert!(tcp(Some(&wide.net), socket("169.254.1.1", PORT)).is_ok());
    for address in ["169.254.169.254", "100.100.100.200", "fd00:ec2::254"] {
        assert!(tcp(Some(&wide.net), socket(address, PORT)).is_err(), "{address}");
    }
    // A packet may be sent twice where the machine is slow to refuse it.
    assert!(world.seen(&wide).packets.metadata >= 3);
    let exact = world.container(2, &policy(&["169.254.169.254:7000", "fd00:ec2::254/128"]));
    for address in ["169.254.169.254", "fd00:ec2::254"] {
        assert!(tcp(Some(&exact.net), socket(address, PORT)).is_ok(), "{address}");
    }
}

#[test]
fn a_service_of_the_host_is_opened_by_its_own_name_only() {
    let world = World::new();
    let wide = world.container(1, &policy(&["11.0.0.0/8", "2600::/16"]));
    for address in crate::world::HOST {
        assert!(tcp(Some(&wide.net), socket(address, PORT)).is_err(), "{address}");
    }
    let exact = world.container(2, &policy(&["11.0.0.2:7000", "[2600:1::2]:7000"]));
    for address in crate::world::HOST {
        let caller = tcp(Some(&exact.net), socket(address, PORT)).unwrap();
        let own = [exact.attached.addresses.v4.to_string(), exact.attached.addresses.v6.to_string()];
        assert!(own.contains(&caller.to_string()), "the host sees who it is: {caller}");
        udp(Some(&exact.net), None, socket(address, PORT), LIMIT).unwrap();
        assert!(tcp(Some(&exact.net), socket(address, 22)).is_err());
    }
}

#[test]
fn a_changed_policy_takes_hold_of_a_living_container() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_err());
    let wider = policy(&["10.66.0.5:7000"]);
    let done = world.egress().reconcile(&living(&[&one], &wider)).unwrap();
    assert_eq!((done.mended, done.attached.len()), (vec![1], 0));
    assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_ok());
    assert!(world.seen(&one).packets.special >= 1, "what was counted stays");
    world.egress().reconcile(&living(&[&one], &Policy::default())).unwrap();
    assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_err());
}

#[test]
fn a_slot_used_again_inherits_no_connection() {
    let world = World::new();
    let first = world.container(1, &policy(&["10.66.0.5:7000"]));
    let call = |net: &crate::world::Net| {
        net.run(|| {
            let udp = std::net::UdpSocket::bind("0.0.0.0:4444").unwrap();
            udp.connect(socket("10.66.0.5", PORT)).unwrap();
            udp.set_read_timeout(Some(LIMIT)).unwrap();
            udp.send(b"ping")?;
            udp.recv(&mut [0; 8])
        })
    };
    assert_eq!(call(&first.net).unwrap(), 4);
    world.egress().detach(1).unwrap();
    let second = world.container(1, &Policy::default());
    assert!(call(&second.net).is_err(), "the flow of its predecessor is no longer established");
    assert!(world.seen(&second).packets.special >= 1);
}

#[test]
fn too_much_is_refused_by_rule() {
    let world = World::new();
    let net = crate::world::Net::new();
    let attach = |slot, policy: &Policy| {
        let error = world.egress().attach(slot, std::os::fd::AsFd::as_fd(&net.0), policy).unwrap_err();
        error.to_string()
    };
    let many: Vec<String> = (0..65).map(|n| format!("10.0.0.{n}:80")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(attach(1, &policy(&many)).contains("64 at most"));
    assert!(attach(65_535, &Policy::default()).contains("no room"));
    assert!(attach(1, &Policy { connections: 0, ..Policy::default() }).contains("connections"));
    assert!(world.egress().attach(1, std::os::fd::AsFd::as_fd(&net.0), &policy(&many[..64])).is_ok());
}
