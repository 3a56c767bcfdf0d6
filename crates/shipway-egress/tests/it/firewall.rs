//! Beside other people's firewalls: what they drop is named, and mended when allowed.

use shipway_egress::{About, Config, Finding, Policy};

use crate::world::{Container, Net, PORT, PUBLIC, World, living, nft, sh, socket, tcp, try_sh};

/// What `iptables-save` says with Docker running, as far as it matters, in the form
/// Docker itself writes it (through `iptables-nft`).
fn like_docker() {
    for line in [
        "iptables -N DOCKER-USER",
        "iptables -A DOCKER-USER -j RETURN",
        "iptables -N DOCKER-ISOLATION-STAGE-1",
        "iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j RETURN",
        "iptables -A FORWARD -j DOCKER-USER",
        "iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1",
        "iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
        "iptables -P FORWARD DROP",
    ] {
        sh(line);
    }
}

fn chains(findings: &[Finding]) -> Vec<String> {
    let of = |finding: &Finding| match &finding.about {
        About::Chain { family, table, chain, by } => Some(format!("{family} {table} {chain} by {by}")),
        _ => None,
    };
    findings.iter().filter_map(of).collect()
}

fn reaches(container: &Container, address: &str) -> bool {
    tcp(Some(&container.net), socket(address, PORT)).is_ok()
}

fn is_cut_off(container: &Container, address: &str) -> bool {
    crate::world::is_cut_off(&container.net, address)
}

fn reconcile(world: &World, containers: &[&Container]) -> Vec<Finding> {
    world.egress().reconcile(&living(containers, &Policy::default())).unwrap().findings
}

/// What `iptables-save` says, without the time of day.
fn saved() -> Vec<String> {
    sh("iptables-save").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn without_a_firewall_there_is_nothing_to_say() {
    let world = World::new();
    let one = world.container(1, &Policy::default());
    assert_eq!(reconcile(&world, &[&one]), []);
    assert_eq!(world.egress().findings().unwrap(), []);
}

#[test]
fn dockers_chain_is_named_with_a_remedy_that_works() {
    let world = World::new();
    like_docker();
    let one = world.container(1, &Policy::default());
    assert!(is_cut_off(&one, PUBLIC[0]) && reaches(&one, PUBLIC[1]), "IPv4 is dropped, IPv6 is not Docker's");
    let findings = reconcile(&world, &[&one]);
    assert_eq!(chains(&findings), ["ip filter FORWARD by FORWARD"]);
    let before = saved();
    assert_eq!(world.egress().findings().unwrap(), findings, "looking changes nothing");
    assert_eq!(saved(), before);
    for command in findings[0].remedy.lines().filter(|line| line.starts_with("iptables ")) {
        assert!(command.contains("DOCKER-USER"), "{command}");
        sh(command);
    }
    assert!(reaches(&one, PUBLIC[0]));
    assert_eq!(reconcile(&world, &[&one]), []);
    world.egress().teardown().unwrap();
    assert!(sh("iptables-save").contains("-A DOCKER-USER -i sw01234567-+"), "what the operator wrote stays");
}

#[test]
fn with_leave_a_tagged_rule_is_added_once_and_taken_away() {
    let mut world = World::bare();
    like_docker();
    let before = sh("iptables -S");
    world.open_with(Config { accept_rule: true, ..world.config() });
    let one = world.container(1, &Policy::default());
    assert!(reaches(&one, PUBLIC[0]), "from its first moment");
    assert_eq!(reconcile(&world, &[&one]), []);
    assert!(reaches(&one, PUBLIC[0]));
    assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_err(), "and no more than before");
    reconcile(&world, &[&one]);
    let ours = |text: &str| text.lines().filter(|line| line.contains("shipway 0123456789ab")).count();
    // `iptables` can still read its own tables, and says whose the rules are.
    let during = sh("iptables -S");
    assert_eq!(ours(&during), 2, "one for each direction: {during}");
    // Docker starts again, and its chains with it.
    sh("iptables -F DOCKER-USER");
    assert!(is_cut_off(&one, PUBLIC[0]));
    assert_eq!(reconcile(&world, &[&one]), []);
    assert!(reaches(&one, PUBLIC[0]));
    sh("iptables -A DOCKER-USER -j RETURN");
    world.egress().teardown().unwrap();
    assert_eq!(sh("iptables -S"), before);
}

#[test]
fn leave_that_is_withdrawn_takes_the_rule_away() {
    let mut world = World::bare();
    like_docker();
    let before = sh("iptables -S");
    world.open_with(Config { accept_rule: true, ..world.config() });
    let one = world.container(1, &Policy::default());
    reconcile(&world, &[&one]);
    assert_ne!(sh("iptables -S"), before);
    world.crash();
    world.open();
    assert_eq!(chains(&reconcile(&world, &[&one])).len(), 1);
    assert_eq!(sh("iptables -S"), before);
}

#[test]
fn a_firewall_that_guards_the_host_itself_stops_names_and_is_named() {
    let world = World::new();
    // As ufw does: everything in and through is dropped at the end.
    for line in [
        "iptables -A INPUT -i lo -j ACCEPT",
        "iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "iptables -P INPUT DROP",
        "iptables -P FORWARD DROP",
        "ip6tables -P FORWARD DROP",
    ] {
        sh(line);
    }
    let one = world.container(1, &Policy::default());
    let findings = reconcile(&world, &[&one]);
    let mut found = chains(&findings);
    found.sort();
    assert_eq!(found, ["ip filter FORWARD by FORWARD", "ip filter INPUT by INPUT", "ip6 filter FORWARD by FORWARD"]);
    let input = findings.iter().find(|finding| finding.what.contains("INPUT")).unwrap();
    assert!(input.remedy.contains("iptables -I INPUT -i sw01234567-+ -j ACCEPT"), "{}", input.remedy);
    for finding in &findings {
        for command in finding.remedy.lines().filter(|line| line.starts_with("ip")) {
            sh(command);
        }
    }
    assert_eq!(reconcile(&world, &[&one]), []);
    assert!(reaches(&one, PUBLIC[0]) && reaches(&one, PUBLIC[1]));
}

#[test]
fn firewalld_and_hand_written_tables_are_read_to_their_end() {
    let world = World::new();
    // The shape of firewalld's: policy accept, zones by jumps, a rejection at the end.
    nft(r#"table inet firewalld {
        chain filter_FORWARD_IN_ZONES {
            iifname "up0" goto filter_FWDI_public
            goto filter_FWDI_public
        }
        chain filter_FWDI_public {
            meta l4proto { icmp, ipv6-icmp } accept
        }
        chain filter_FORWARD {
            type filter hook forward priority filter + 10; policy accept;
            ct state { established, related } accept
            ct status dnat accept
            iifname "lo" accept
            jump filter_FORWARD_IN_ZONES
            reject with icmpx admin-prohibited
        }
    }"#);
    let one = world.container(1, &Policy::default());
    assert!(is_cut_off(&one, PUBLIC[0]));
    let findings = reconcile(&world, &[&one]);
    assert_eq!(chains(&findings), ["inet firewalld filter_FORWARD by filter_FORWARD"]);
    for command in findings[0].remedy.lines().filter(|line| line.starts_with("nft ")) {
        let (words, _) = command.split_once('"').unwrap();
        let (begin, side) = words.rsplit_once(' ').unwrap();
        // No shell here to take the quotes off.
        assert!(try_sh(&format!("{begin} {side} sw01234567-* accept")).1, "{command}");
    }
    assert!(reaches(&one, PUBLIC[0]) && reaches(&one, PUBLIC[1]));
    assert_eq!(reconcile(&world, &[&one]), []);
}

#[test]
fn rules_about_others_are_no_finding() {
    let world = World::new();
    nft(r#"table inet mine {
        set bad { type ipv4_addr; elements = { 12.9.9.9 } }
        chain bad {
            drop
        }
        chain through {
            type filter hook forward priority filter; policy accept;
            ip saddr @bad drop
            tcp dport 25 drop
            iifname "eth7" drop
            ct state invalid drop
            meta mark 7 jump bad
            oifname "sw0123*" ct state established accept
            iifname != "up0" accept
            oifname != "up0" drop
        }
        chain early {
            type filter hook prerouting priority raw; policy drop;
            accept
        }
    }"#);
    let one = world.container(1, &Policy::default());
    assert!(reaches(&one, PUBLIC[0]));
    assert_eq!(reconcile(&world, &[&one]), []);
}

#[test]
fn a_world_without_a_way_out_is_told() {
    let mut world = World::bare();
    sh("ip route del default");
    sh("ip -6 route del default");
    world.open();
    let net = Net::new();
    world.egress().attach(1, std::os::fd::AsFd::as_fd(&net.0), &Policy::default()).unwrap();
    let findings = world.egress().findings().unwrap();
    assert!(findings.iter().any(|finding| matches!(finding.about, About::NoRoute { .. })), "{findings:?}");
    assert!(tcp(Some(&net), socket(PUBLIC[0], PORT)).is_err());
    // The network comes later, and is found.
    sh("ip route add default via 11.0.0.1");
    let policy = Policy::default();
    let one = shipway_egress::Living { slot: 1, namespace: std::os::fd::AsFd::as_fd(&net.0), policy: &policy };
    assert_eq!(world.egress().reconcile(&[one]).unwrap().findings, []);
    assert!(tcp(Some(&net), socket(PUBLIC[0], PORT)).is_ok());
}
