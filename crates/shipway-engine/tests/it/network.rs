//! How a container is reached, and what it cannot reach.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use shipway_engine::{Ingress, Network};

use crate::world::{PROXY, World, printed, run, soon, start, wait_until};

#[tokio::test]
async fn nothing_but_a_loopback_is_there() {
    let world = World::new();
    let engine = world.open().await;
    let (_, log) = run(&engine, world.spec("alone", "ip -o link; cat /proc/net/route")).await;
    let links: Vec<&str> = log.lines().filter(|l| l.contains("mtu")).collect();
    assert_eq!(links.len(), 1, "{log}");
    assert!(links[0].contains("lo:") && links[0].contains("UP"), "{log}");
    assert_eq!(engine.endpoint("alone").unwrap(), None);
    world.finish(engine).await;
}

#[tokio::test]
async fn a_listener_is_handed_over_and_visitors_wait_for_it() {
    let world = World::new();
    let engine = world.open().await;
    let script = "readlink /proc/self/fd/3; echo $LISTEN_FDS; exec sleep 1000";
    let mut spec = world.spec("listener", script);
    spec.ingress = Ingress::Listener;
    let id = start(&engine, spec).await;
    printed(&engine, &id, "1").await;
    let log = crate::world::log(&engine, &id).await;
    assert!(log.starts_with("socket:["), "{log}");
    let path = engine.endpoint(&id).unwrap().unwrap();
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert_eq!((found.uid(), found.permissions().mode() & 0o777), (PROXY, 0o600));
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o711);
    // Nobody accepts inside, and still nobody is refused.
    let visitor = UnixStream::connect(&path).unwrap();
    soon(engine.stop(&id, std::time::Duration::ZERO)).await.unwrap();
    drop(visitor);
    wait_until("its end is seen by visitors", || UnixStream::connect(&path).is_err()).await;
    soon(engine.start(&id)).await.unwrap();
    assert!(UnixStream::connect(&path).is_ok(), "a new start, a new listener");
    world.finish(engine).await;
}

/// Asks a dialer for a connection.
fn dial(path: &Path) -> std::io::Result<Option<TcpStream>> {
    let asker = UnixStream::connect(path)?;
    let mut byte = [0xff];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(&asker, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let passed = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(passed.map(TcpStream::from))
}

#[tokio::test]
async fn a_dialer_reaches_the_one_address() {
    let world = World::new();
    let engine = world.open().await;
    let address = Ipv4Addr::new(192, 0, 0, 8);
    let script = "echo ready; exec nc -ll -p 8080 -e cat";
    let mut spec = world.spec("dialer", script);
    spec.network = Network::None { address: Some(address) };
    spec.ingress = Ingress::Dialer { address: (address, 8080).into() };
    let id = start(&engine, spec).await;
    printed(&engine, &id, "ready").await;
    let path = engine.endpoint(&id).unwrap().unwrap();
    let mut connection = None;
    wait_until("the program listens", || {
        connection = dial(&path).unwrap();
        connection.is_some()
    })
    .await;
    let mut connection = connection.unwrap();
    connection.set_nonblocking(false).unwrap();
    connection.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    drop(connection);
    world.finish(engine).await;
}

#[tokio::test]
async fn one_listener_from_outside_is_there_before_the_program_and_nothing_else() {
    let world = World::new();
    let engine = world.open().await;
    let script = "nc 127.0.0.1 4000 </dev/null; nc -w 1 127.0.0.1 4001 </dev/null || echo nobody else; \
                  nc -w 1 192.0.2.1 80 </dev/null || echo no way out; exec sleep 1000";
    engine.create(world.spec("inside", script)).await.unwrap();
    let inside = "127.0.0.1:4000".parse().unwrap();
    let (_, listener) = soon(engine.start_listening("inside", inside)).await.unwrap();
    assert_eq!(listener.local_addr().unwrap(), inside);
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (mut visitor, _) = soon(listener.accept()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut visitor, b"from outside\n").await.unwrap();
    drop(visitor);
    for line in ["from outside", "nobody else", "no way out"] {
        printed(&engine, "inside", line).await;
    }
    // On the host's own loopback there is none.
    assert!(TcpStream::connect_timeout(&inside, std::time::Duration::from_secs(1)).is_err());
    let again = soon(engine.start_listening("inside", inside)).await;
    assert!(matches!(again, Err(shipway_engine::EngineError::Running(_))), "{again:?}");
    soon(engine.stop("inside", std::time::Duration::ZERO)).await.unwrap();
    let elsewhere = soon(engine.start_listening("inside", "192.0.2.1:1".parse().unwrap())).await;
    assert!(matches!(elsewhere, Err(shipway_engine::EngineError::Invalid(_))), "{elsewhere:?}");
    world.finish(engine).await;
}
