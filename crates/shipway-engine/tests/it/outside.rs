//! Containers that reach out, through a host and an internet that are namespaces.
//!
//! The test's thread moves into a network namespace before anything else, and every
//! thread and process of the engine is born in it: the machine's own network is never
//! touched. The egress crate's tests show what is refused; these show that the engine
//! connects, finds again and disconnects.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;

use shipway_engine::{ContainerSpec, EgressSpec, Engine};

use crate::world::{World, log, printed, run, start, wait_until};

/// Stands for the public internet.
const PUBLIC: &str = "12.1.1.1";
/// A private network behind the host.
const PRIVATE: &str = "10.66.0.5";

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What `nft` and `ip` say of this namespace.
fn traces() -> String {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // A link's number and name only: its state takes a moment to settle.
    let links = said("ip", &["-o", "link"]);
    let names: Vec<&str> = links.lines().filter_map(|line| line.split(" <").next()).collect();
    said("nft", &["list", "tables"]) + &names.join("\n")
}

/// Runs a test on a thread that is a host of its own, whose internet is a second one.
fn on_a_host(test: impl Future<Output = ()> + Send + 'static) {
    let host = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let _internet = internet();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test);
    });
    host.join().unwrap();
}

/// Makes the other namespace, with somebody who greets at every address. Its thread ends
/// when what is returned is dropped.
fn internet() -> std::sync::mpsc::Sender<()> {
    let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), rustix::thread::gettid().as_raw_nonzero());
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (stay, leave) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        ip(&format!("link add down0 type veth peer name up0 netns {own}"));
        ip("addr add 11.0.0.1/24 dev down0");
        ip("link set down0 up");
        for address in [PUBLIC, PRIVATE] {
            ip(&format!("addr add {address}/32 dev lo"));
            let listener = TcpListener::bind((address, 7000)).unwrap();
            std::thread::spawn(move || {
                while let Ok((mut stream, peer)) = listener.accept() {
                    // Who hangs up before the greeting has been refused it, or is gone.
                    drop(writeln!(stream, "hello {}", peer.ip()));
                }
            });
        }
        ready.send(()).unwrap();
        // Ends with the test: an error is its sender's end.
        assert!(leave.recv().is_err(), "nobody sends");
    });
    is_ready.recv().unwrap();
    ip("link set lo up");
    ip("addr add 11.0.0.2/24 dev up0");
    ip("link set up0 up");
    ip("route add default via 11.0.0.1");
    stay
}

/// A container with egress that runs a script.
fn reaching(world: &World, id: &str, script: &str) -> ContainerSpec {
    let egress = Some(EgressSpec { bytes_per_second: None, connections: 64 });
    ContainerSpec { egress, ..world.spec(id, script) }
}

fn greet(address: &str) -> String {
    format!("nc -w 5 {address} 7000 </dev/null || echo refused")
}

#[test]
fn the_internet_is_reached_and_nothing_else() {
    on_a_host(async {
        let world = World::new();
        let engine = world.open().await;
        let before = traces();
        let (_, quiet) = run(&engine, world.spec("none", &greet(PUBLIC))).await;
        assert!(quiet.contains("refused"), "{quiet}");
        assert_eq!(traces(), before, "whoever reaches nothing leaves no trace");
        let script = format!("cat /etc/resolv.conf; {}; {}", greet(PUBLIC), greet(PRIVATE));
        let (_, said) = run(&engine, reaching(&world, "out", &script)).await;
        assert!(said.starts_with("nameserver 10."), "{said}");
        assert!(said.contains("hello 11.0.0.2"), "behind the host's address: {said}");
        assert!(said.contains("refused"), "a private network: {said}");
        assert_ne!(traces(), before);
        world.finish(engine).await;
        wait_until("nothing is left", || traces() == before).await;
    });
}

#[test]
fn it_is_counted_and_found_again_after_a_restart() {
    on_a_host(async {
        let world = World::new();
        let engine = world.open().await;
        let before = traces();
        let script = format!(
            "{}; while :; do [ -e /tmp/go ] && {{ {}; rm /tmp/go; echo done; }}; sleep 0.05; done",
            greet(PRIVATE),
            greet(PUBLIC)
        );
        let id = start(&engine, reaching(&world, "out", &script)).await;
        printed(&engine, &id, "refused").await;
        let seen = engine.reached(&id).await.unwrap().unwrap();
        assert!(seen.packets.special > 0, "{seen:?}");
        drop(engine);
        let engine = world.open().await;
        touch(&engine, &id).await;
        printed(&engine, &id, "done").await;
        let said = log(&engine, &id).await;
        assert!(said.contains("hello 11.0.0.2"), "{said}");
        world.finish(engine).await;
        wait_until("nothing is left", || traces() == before).await;
    });
}

/// Tells the script to go on.
async fn touch(engine: &Engine, id: &str) {
    let argv = ["/bin/sh", "-c", ": > /tmp/go"].map(str::to_owned).to_vec();
    let spec = shipway_engine::ExecSpec { argv, env: vec!["PATH=/bin".to_owned()], cwd: None, terminal: None };
    let mut session = engine.exec(id, spec).await.unwrap();
    while session.output.recv().await.is_some() {}
}

#[test]
fn a_sandbox_made_ahead_is_connected_too() {
    on_a_host(async {
        let world = World::new();
        let engine = world.open().await;
        let before = traces();
        let spec = reaching(&world, "ahead", &greet(PUBLIC));
        engine.create(spec).await.unwrap();
        engine.prepare("ahead").await.unwrap();
        engine.start("ahead").await.unwrap();
        engine.wait("ahead").await.unwrap();
        let said = log(&engine, "ahead").await;
        assert!(said.contains("hello 11.0.0.2"), "{said}");
        world.finish(engine).await;
        wait_until("nothing is left", || traces() == before).await;
    });
}
