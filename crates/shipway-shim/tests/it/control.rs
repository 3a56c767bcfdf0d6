//! Questions over `ctl.sock`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use shipway_shim::protocol::{Answer, Ask, CONNECTIONS_MAX, CONTROL_SOCKET};

use crate::socket;
use crate::world::{World, answer, tell};

#[test]
fn only_root_may_ask() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let meta = std::fs::metadata(container.run_dir.join(CONTROL_SOCKET)).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.uid()), (0o600, 0));
    container.end();
}

#[test]
fn signals_reach_the_first_process() {
    let world = World::new();
    let container = world.start(&world.launch("trap 'echo usr1' USR1; echo up; while :; do sleep 1000 & wait; done"));
    container.wait_for("up");
    assert_eq!(container.ask(&Ask::Signal { signal: 10 }), Answer::Done);
    container.wait_for("usr1");
    for wrong in [0, -1, 65, i32::MAX] {
        let refused = container.ask(&Ask::Signal { signal: wrong });
        assert!(matches!(refused, Answer::Refused { errno: 22, .. }), "{wrong}: {refused:?}");
    }
    container.end();
}

#[test]
fn nonsense_is_refused_and_the_connection_goes_on() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let connection = container.connect();
    for nonsense in [b"\0".as_slice(), b"{}", b"{\"ask\":\"fly\"}", &[b'['; 10_000]] {
        socket::send(&connection, nonsense, &[]).unwrap();
        assert!(matches!(answer(&connection).0, Answer::Refused { .. }));
    }
    tell(&connection, &Ask::Ping, &[]);
    assert_eq!(answer(&connection).0, Answer::Done);
    container.end();
}

#[test]
fn connections_are_bounded() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let kept: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| {
            let connection = container.connect();
            tell(&connection, &Ask::Ping, &[]);
            assert_eq!(answer(&connection).0, Answer::Done);
            connection
        })
        .collect();
    let over = container.connect();
    assert!(socket::receive(&over).is_none(), "one too many is hung up on");
    drop(kept);
    crate::world::wait_until("there is room again", || {
        let connection = container.connect();
        let ping = serde_json::to_vec(&Ask::Ping).unwrap();
        socket::send(&connection, &ping, &[]).is_ok() && socket::receive(&connection).is_some()
    });
    container.end();
}

#[test]
fn everybody_who_waits_is_told() {
    let world = World::new();
    let container = world.start(&world.launch("sleep 1000"));
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let connection = container.connect();
            tell(&connection, &Ask::Wait, &[]);
            // The answer to a second question says that the first has been heard.
            tell(&connection, &Ask::Ping, &[]);
            assert_eq!(answer(&connection).0, Answer::Done);
            connection
        })
        .collect();
    container.end();
    for connection in waiting {
        assert_eq!(answer(&connection).0, Answer::Exited { code: None, signal: Some(9) });
        assert!(socket::receive(&connection).is_none());
    }
}
