//! Services that reach out: the internet and nothing else, whatever happens to Shipway.
//!
//! The host and the internet are namespaces of the story's own (`egress/host.rs`). What
//! is asked for in a container is asked by a script (`egress/client.py`), which answers
//! visitors with what came of it, and by a command in an image.

mod firewalls;
mod host;
mod names;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::Ordering;

use serde_json::Value;
use shipway_testkit::wait_until;

use self::host::{ALLOWED, FLOOD_BYTES, FLOOD_PORT, FORBIDDEN, HOST, Host, PORT, PUBLIC, RESOLVER, sh, traces};
use crate::world::{SOON, World};

const CLIENT: &str = include_str!("egress/client.py");
/// Where Shipway's own API is served for the network.
const API_PORT: u16 = 8088;
/// Where the command in the image listens.
const WEB_PORT: u16 = 8000;

/// A platform on this host whose operator has opened [`ALLOWED`].
fn platform() -> World {
    platform_with(&[])
}

fn platform_with(further: &[(&str, &str)]) -> World {
    let listen = format!("127.0.0.1:0,{}:{API_PORT}=services,[{}]:{API_PORT}=services", HOST[0], HOST[1]);
    let allow = format!("{}/24,{}:{PORT}", "10.77.0.0", ALLOWED[1]);
    let usual = [
        ("SHIPWAY_LISTEN", listen.as_str()),
        ("SHIPWAY_NETWORK_ALLOW", &allow),
        ("SHIPWAY_NETWORK_RESOLVERS", RESOLVER),
    ];
    World::with(&[&usual[..], further].concat())
}

/// Deploys the script with a way out.
fn deploy(world: &World, name: &str, further: &[&str]) {
    let url = world.files.put(&format!("/{name}"), CLIENT);
    let words = ["deploy", &url, "--script", "--name", name, "--egress", "internet", "--timeout", "60s"];
    world.ok(&[&words[..], further].concat());
}

/// What a service's script says to a request.
#[track_caller]
fn ask(world: &World, service: &str, query: &str) -> String {
    let answer = world.platform.visit(service, &format!("/?{query}")).unwrap();
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.text().trim().to_owned()
}

/// A counter of a service's, as `shipway inspect` shows it.
#[track_caller]
fn counted(world: &World, service: &str, counter: &str) -> u64 {
    let text = world.ok(&["--json", "inspect", service]).stdout;
    let inspected: Value = serde_json::from_str(&text).unwrap();
    inspected["stats"]["egress"][counter].as_u64().unwrap_or_else(|| panic!("no {counter} in {text}"))
}

/// Refused, and counted.
#[track_caller]
fn refused(world: &World, service: &str, address: &str, port: u16, counter: &str) {
    let before = counted(world, service, counter);
    let said = ask(world, service, &format!("tcp={address},{port}"));
    assert!(said.starts_with("refused"), "{address}:{port}: {said}");
    let after = counted(world, service, counter);
    assert!(after > before, "{address}:{port} counts as {counter}: {before} → {after}");
}

/// Both families, behind the host's address, and by name.
#[track_caller]
fn reaches_the_internet(world: &World, service: &str) {
    for (address, host) in PUBLIC.iter().zip(HOST) {
        assert_eq!(ask(world, service, &format!("tcp={address},{PORT}")), format!("hello {host}"));
    }
    assert!(ask(world, service, &format!("tcp=public.test,{PORT}")).starts_with("hello "));
    assert_eq!(ask(world, service, "name=public.test"), PUBLIC.join(" "));
}

/// Every address of a kind that the containers' links have on the host's side, and those
/// that lead into containers.
fn of_links(command: &str) -> Vec<String> {
    let lines = sh(command);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let of = |line: &str| {
        let words = words(line);
        let at = words.iter().position(|word| matches!(word.as_str(), "inet" | "inet6")).map_or(0, |at| at + 1);
        words.get(at).map(|word| word.split('/').next().unwrap_or_default().to_owned())
    };
    let ours = lines.lines().filter(|line| line.contains(" sw") && !line.contains("fe80"));
    ours.filter_map(of).collect::<BTreeSet<_>>().into_iter().collect()
}

fn links_own() -> Vec<String> {
    of_links("ip -o addr show scope global")
}

fn containers() -> Vec<String> {
    [of_links("ip route"), of_links("ip -6 route")].concat()
}

/// An image with busybox, its web server and a page that reaches out.
fn import_box(world: &World) {
    let tree = tempfile::tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    for folder in ["bin", "dev", "etc", "proc", "tmp", "www/cgi-bin"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::copy("/bin/busybox", at("bin/busybox")).unwrap();
    for name in ["sh", "httpd", "nc", "cat"] {
        std::os::unix::fs::symlink("busybox", at("bin").join(name)).unwrap();
    }
    let page = format!(
        "#!/bin/sh\nprintf 'content-type: text/plain\\r\\n\\r\\n'\n\
         nc -w 10 \"$QUERY_STRING\" {PORT} </dev/null || echo refused\n"
    );
    for (name, text) in [("www/cgi-bin/reach", page.as_str()), ("www/index.html", "page\n")] {
        shipway_stdx::fs::write_atomic(&at(name), text.as_bytes(), 0o755, shipway_stdx::fs::Durability::Process)
            .unwrap();
    }
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
    world.ok(&["image", "import", "box", tree.path().to_str().unwrap()]);
}

fn deploy_box(world: &World, name: &str) {
    import_box(world);
    let words = ["deploy", "--image", "box", "--port", "8000", "--name", name, "--egress", "internet", "--"];
    world.ok(&[&words[..], &["httpd", "-f", "-p", "8000", "-h", "/www"]].concat());
}

/// What the command's page says of an address.
fn ask_box(world: &World, name: &str, address: &str) -> String {
    world.platform.visit(name, &format!("/cgi-bin/reach?{address}")).unwrap().text().trim().to_owned()
}

/// The network namespaces of the containers that run.
fn namespaces(world: &World) -> BTreeSet<u64> {
    let containers = fs::read_dir(world.platform.state_dir().join("engine/containers")).unwrap().flatten();
    let namespace = |run: Value| {
        let init = run["init"]["pid"].as_i64()?;
        Some(fs::metadata(format!("/proc/{init}/ns/net")).ok()?.ino())
    };
    containers
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path().join("run.json")).ok()?).ok())
        .filter_map(namespace)
        .collect()
}

/// Whether any process is still in one of these.
fn are_inhabited(namespaces: &BTreeSet<u64>) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut inside = processes.filter_map(|entry| Some(fs::metadata(entry.path().join("ns/net")).ok()?.ino()));
    inside.any(|namespace| namespaces.contains(&namespace))
}

#[test]
fn the_internet_is_reached_and_nothing_else_whatever_happens_to_shipway() {
    let host = Host::become_one();
    let before = traces();
    let mut world = platform();
    world.script("quiet", CLIENT);
    assert!(ask(&world, "quiet", &format!("tcp={},{PORT}", PUBLIC[0])).starts_with("refused"), "no egress by default");
    assert_eq!(traces(), before, "and nothing of the host is touched for it");
    deploy(&world, "script", &[]);
    deploy_box(&world, "web");

    reaches_the_internet(&world, "script");
    for (address, host) in PUBLIC.iter().zip(HOST) {
        assert_eq!(ask_box(&world, "web", address), format!("hello {host}"));
    }
    assert!(ask_box(&world, "web", "public.test").starts_with("hello "));
    nothing_else_is_reached(&world);
    names_lead_nowhere_else(&world, &host);
    only_what_is_allowed(&world);
    bandwidth_and_connections_have_their_limits(&world);

    world.platform.kill().unwrap();
    let up = ask(&world, "script", &format!("tcp={},{PORT}", PUBLIC[0]));
    assert_eq!(up, format!("hello {}", HOST[0]), "while nobody is in control");
    let seen = namespaces(&world);
    world.platform.restart().unwrap();
    assert_eq!(namespaces(&world), seen, "the same containers");
    wait_until("names are answered again", SOON, || {
        (ask(&world, "script", "name=public.test") == PUBLIC.join(" ")).then_some(())
    });
    reaches_the_internet(&world, "script");
    nothing_else_is_reached(&world);

    let seen = namespaces(&world);
    assert!(seen.len() >= 3, "{seen:?}");
    assert_eq!(world.platform.down().unwrap().code, 0);
    assert_eq!(traces(), before, "no link, rule, route or setting is left");
    assert!(!are_inhabited(&seen), "no namespace is left");
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains("nsfs net:"), "{mounts}");
}

fn nothing_else_is_reached(world: &World) {
    for (address, counter) in FORBIDDEN {
        refused(world, "script", address, PORT, counter);
    }
    // The host by every address of it: a listener of its own, Shipway's, nobody's.
    let own = links_own();
    assert_eq!(own.len(), 2, "one of each family: {own:?}");
    for address in HOST.into_iter().chain(own.iter().map(String::as_str)) {
        for port in [PORT, API_PORT, 22] {
            refused(world, "script", address, port, "refused_host");
        }
    }
    let api = world.platform.address().port();
    assert!(ask(world, "script", &format!("tcp=127.0.0.1,{api}")).starts_with("refused"), "its loopback is its own");
    // The neighbour listens; nobody is there at one's own address.
    let before = counted(world, "script", "refused_neighbour");
    let all = containers();
    assert!(all.len() >= 4, "two containers, two families: {all:?}");
    for address in &all {
        assert!(ask(world, "script", &format!("tcp={address},{WEB_PORT}")).starts_with("refused"), "{address}");
    }
    assert!(counted(world, "script", "refused_neighbour") >= before + 2, "one neighbour of two families");
    for (address, _) in FORBIDDEN {
        assert_eq!(ask_box(world, "web", address), "refused", "{address}");
    }
    assert!(counted(world, "web", "refused_metadata") >= 2);
}

fn names_lead_nowhere_else(world: &World, host: &Host) {
    let names = |name: &str| ask(world, "script", &format!("name={name}"));
    for inside in ["inside.test", "metadata.test", "host.test"] {
        assert_eq!(names(inside), "refused gaierror", "{inside}");
    }
    assert_eq!(names("mixed.test"), PUBLIC[0], "what may be reached stays");
    assert_eq!(names("rebind.test"), PUBLIC[0]);
    host.rebound.store(true, Ordering::Relaxed);
    assert_eq!(names("rebind.test"), "refused gaierror");
    assert!(counted(world, "script", "refused_names") >= 5);
    // The forwarder answers questions for names, and is no way to anything else.
    assert_eq!(ask(world, "script", "ask=1,1"), "0", "a plain question");
    assert_eq!(ask(world, "script", "ask=252,1"), "5", "a whole zone is refused");
    assert_eq!(ask(world, "script", "ask=16,3"), "5", "who are you, in class CHAOS");
    for text in ["GET / HTTP/1.0", "CONNECT 10.66.0.5:7000 HTTP/1.1"] {
        let said = ask(world, "script", &format!("talk={}", text.replace(' ', "+")));
        assert!(said == "b''" || said.starts_with("refused"), "{said}");
    }
}

fn only_what_is_allowed(world: &World) {
    let [block, pair] = ALLOWED;
    for (address, port) in [(block, PORT), (pair, PORT)] {
        assert_eq!(ask(world, "script", &format!("tcp={address},{port}")), format!("hello {}", HOST[0]));
    }
    let flood = ask(world, "script", &format!("flood={block},{FLOOD_PORT}"));
    assert!(flood.starts_with(&format!("{FLOOD_BYTES} ")), "every port of a block: {flood}");
    refused(world, "script", pair, FLOOD_PORT, "refused_special");
}

fn bandwidth_and_connections_have_their_limits(world: &World) {
    deploy(world, "slow", &["--connections", "5", "--bandwidth", "4M"]);
    deploy(world, "free", &[]);
    let many = |service: &str| ask(world, service, &format!("many={},{PORT},8", PUBLIC[0]));
    assert_eq!(many("slow"), "5 and then ConnectionRefusedError");
    assert!(counted(world, "slow", "refused_connections") >= 1);
    assert_eq!(many("free"), "8");

    let flood = |service: &str| -> u64 {
        // There is room again when the connections of before are forgotten.
        let said = wait_until("there is room again", SOON, || {
            let said = ask(world, service, &format!("flood={},{FLOOD_PORT}", PUBLIC[0]));
            (!said.starts_with("refused")).then_some(said)
        });
        let (bytes, milliseconds) = said.split_once(' ').unwrap();
        assert_eq!(bytes.parse(), Ok(FLOOD_BYTES));
        milliseconds.parse().unwrap()
    };
    // Four seconds' worth, less what may pass at once.
    let (slow, free) = (flood("slow"), flood("free"));
    assert!(slow > 2_500, "{slow} ms: above its rate");
    assert!(free < slow / 2, "{free} ms: another container is not held back");
    assert!(counted(world, "slow", "refused_rate") > 0);
    assert_eq!(counted(world, "free", "refused_rate"), 0);
    assert!(world.ok(&["inspect", "free"]).stdout.contains("\"received_bytes\""));
    for name in ["slow", "free"] {
        world.ok(&["rm", name, "--yes"]);
    }
}
