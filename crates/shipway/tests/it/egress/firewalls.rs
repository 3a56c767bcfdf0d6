//! Beside Docker and a firewall that drops, and what `shipway doctor` says of it all.
//!
//! `docker.rules` is what a real dockerd has written, loaded as it is; with the daemon
//! itself the first story was gone through by hand.

use std::process::Command;

use serde_json::Value;
use shipway_testkit::{Output, wait_until};

use super::host::{HOST, Host, PORT, PUBLIC, RESOLVER, sh};
use super::{ask, deploy, import_box, platform, platform_with};
use crate::world::{SOON, World};

const DOCKERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/egress/docker.rules");

/// The host as dockerd leaves it: its bridge, its rules, forwarding for everybody.
fn install_docker() {
    for line in [
        "ip link add docker0 type bridge",
        "ip addr add 172.17.0.1/16 dev docker0",
        "ip link set docker0 up",
        "sysctl -q -w net.ipv4.ip_forward=1",
    ] {
        sh(line);
    }
    sh(&format!("iptables-restore {DOCKERS}"));
}

/// Whether it answers within the time that a lost packet needs to be sent again.
fn is_up(world: &World, address: &str) -> bool {
    ask(world, "script", &format!("soon={address},{PORT}")).starts_with("hello")
}

/// What stands in the service's way, as `shipway inspect` shows it.
fn obstacles(world: &World) -> Vec<String> {
    let inspected: Value = serde_json::from_str(&world.ok(&["inspect", "script"]).stdout).unwrap();
    let all = inspected["stats"]["egress"]["obstacles"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// What doctor finds about egress: check, status, words, remedy.
fn doctor(state: &str, further: &[&str]) -> Vec<[String; 4]> {
    let state = format!("state_dir={state}");
    let output = Command::new(env!("CARGO_BIN_EXE_shipway"))
        .args(["doctor", "--json", "--set", &state])
        .args(further.iter().flat_map(|pair| ["--set", pair]))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    findings
        .filter(|finding| word(finding, "check").starts_with("egress."))
        .map(|finding| ["check", "status", "what", "remedy"].map(|name| word(&finding, name)))
        .collect()
}

fn doctor_of(world: &World) -> Vec<[String; 4]> {
    doctor(&world.platform.state_dir().display().to_string(), &[&format!("network.resolvers={RESOLVER}")])
}

/// What it says of one thing.
#[track_caller]
fn about<'a>(findings: &'a [[String; 4]], check: &str) -> &'a [String; 4] {
    findings.iter().find(|[name, ..]| name == check).unwrap_or_else(|| panic!("no {check} in {findings:?}"))
}

/// Checks that are not as they should be.
fn doubtful(findings: &[[String; 4]]) -> Vec<&str> {
    findings.iter().filter(|[_, status, ..]| status != "ok").map(|[check, ..]| check.as_str()).collect()
}

#[test]
fn beside_docker_the_chain_is_named_and_the_remedy_helps() {
    let _host = Host::become_one();
    let world = platform();
    deploy(&world, "script", &[]);
    import_box(&world);
    assert!(is_up(&world, PUBLIC[0]) && is_up(&world, PUBLIC[1]));
    assert_eq!(obstacles(&world), [""; 0]);
    let findings = doctor_of(&world);
    assert_eq!((findings.len(), doubtful(&findings)), (6, vec![]), "{findings:?}");

    install_docker();
    assert!(!is_up(&world, PUBLIC[0]) && is_up(&world, PUBLIC[1]), "IPv6 is not Docker's");
    let found = obstacles(&world);
    assert!(found.len() == 1 && found[0].contains("FORWARD") && found[0].contains("ip filter"), "{found:?}");
    assert!(found[0].contains("iptables -I DOCKER-USER") && found[0].contains("network.accept_rule"), "{found:?}");
    let failed = deploy_what_needs_the_internet(&world, "needy");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("did not become ready") && failed.stderr.contains("DOCKER-USER"), "{failed:?}");
    wait_until("the log tells it", SOON, || world.platform.log().contains("drops what containers send").then_some(()));

    let findings = doctor_of(&world);
    let [_, status, what, remedy] = about(&findings, "egress.firewall");
    assert_eq!((doubtful(&findings), status.as_str()), (vec!["egress.firewall"], "warning"), "{findings:?}");
    assert!(what.contains("the chain FORWARD of the table ip filter"), "{what}");
    let commands: Vec<&str> = remedy.lines().filter(|line| line.starts_with("iptables ")).collect();
    assert_eq!(commands.len(), 2, "{remedy}");
    commands.iter().for_each(|command| drop(sh(command)));
    assert!(is_up(&world, PUBLIC[0]) && is_up(&world, PUBLIC[1]));
    assert_eq!(obstacles(&world), [""; 0]);
    assert_eq!(doubtful(&doctor_of(&world)), [""; 0]);
    let fine = deploy_what_needs_the_internet(&world, "needy");
    assert_eq!(fine.code, 0, "{fine:?}");
}

/// Serves only once it has been greeted by the internet.
fn deploy_what_needs_the_internet(world: &World, name: &str) -> Output {
    let words = ["deploy", "--image", "box", "--port", "8000", "--name", name, "--egress", "internet"];
    let script = format!("nc -w 2 {} {PORT} </dev/null && exec httpd -f -p 8000 -h /www", PUBLIC[0]);
    world.platform.cli(&[&words[..], &["--ready-within", "5s", "--", "sh", "-c", &script]].concat()).unwrap()
}

#[test]
fn a_firewall_that_drops_everything_is_told_or_with_leave_mended() {
    let _host = Host::become_one();
    for line in [
        "iptables -A INPUT -i lo -j ACCEPT",
        "iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "iptables -P INPUT DROP",
        "iptables -P FORWARD DROP",
        "ip6tables -P FORWARD DROP",
    ] {
        sh(line);
    }
    let before = sh("iptables -S") + &sh("ip6tables -S");
    // Before Shipway was ever started there are no links to write commands for.
    let nowhere = tempfile::tempdir().unwrap();
    let findings = doctor(&nowhere.path().display().to_string(), &["network.resolvers=11.0.0.1"]);
    let [_, _, what, remedy] = about(&findings, "egress.firewall");
    assert!(what.contains("INPUT") && what.contains("FORWARD") && what.contains("ip6 filter"), "{what}");
    assert!(remedy.contains("network.accept_rule: true") && !remedy.contains("00000000"), "{remedy}");

    let mut world = platform_with(&[("SHIPWAY_NETWORK_ACCEPT_RULE", "true")]);
    deploy(&world, "script", &[]);
    assert!(is_up(&world, PUBLIC[0]) && is_up(&world, PUBLIC[1]), "from its first request");
    assert_eq!(ask(&world, "script", "name=public.test"), PUBLIC.join(" "));
    assert!(!is_up(&world, HOST[0]) && !is_up(&world, "10.66.0.5"), "and no more than without a firewall");
    assert_eq!(obstacles(&world), [""; 0]);
    assert_eq!(world.platform.down().unwrap().code, 0);
    assert_eq!(sh("iptables -S") + &sh("ip6tables -S"), before);
}

#[test]
fn doctor_names_what_containers_lack_to_reach_out() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
    let _host = Host::become_one();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let findings = doctor(&state, &["network.resolvers=12.5.3.5"]);
    assert_eq!((findings.len(), doubtful(&findings)), (6, vec![]), "{findings:?}");
    let before = super::traces();

    // A file system of this thread's own, in which nobody is asked and nothing may be set.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let nobody = folder.path().join("resolv.conf");
    std::fs::File::create(&nobody).unwrap();
    mount_bind(&nobody, "/etc/resolv.conf").unwrap();
    mount_bind("/proc/sys", "/proc/sys").unwrap();
    mount_remount("/proc/sys", MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let findings = doctor(&state, &["network.pools=11.0.0.0/16,10.9.0.0/16"]);
    assert_eq!(doubtful(&findings), ["egress.forwarding", "egress.addresses", "egress.resolvers"], "{findings:?}");
    let words = |check: &str| about(&findings, check)[2..].join(" | ");
    assert!(words("egress.forwarding").contains("Read-only") && words("egress.forwarding").contains("/proc/sys"));
    let addresses = words("egress.addresses");
    assert!(addresses.contains("perhaps: the address pool 11.0.0.0/16 overlaps 11.0.0.0/24"), "{addresses}");
    assert!(words("egress.resolvers").contains("network.resolvers"));
    assert_eq!(super::traces(), before, "looking changes nothing");

    sh("ip route del default");
    sh("ip -6 route del default");
    let findings = doctor(&state, &["network.pools=11.0.0.0/16", "network.resolvers=12.5.3.5"]);
    assert_eq!(doubtful(&findings), ["egress.forwarding", "egress.route", "egress.addresses"], "{findings:?}");
    assert!(about(&findings, "egress.addresses")[2].starts_with("the address pool 11.0.0.0/16"), "none is left");
    let text = Command::new(env!("CARGO_BIN_EXE_shipway"))
        .args(["doctor", "--set", &format!("state_dir={state}")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("egress.route") && text.contains("remedy: connect the host to a network"), "{text}");
}
