//! How much of the internet one container gets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use shipway_egress::Policy;

use crate::world::{LIMIT, PORT, PUBLIC, World, socket, tcp, wait_until};

/// Sends so many bytes to the echo and takes them back; how long that took.
fn there_and_back(net: &crate::world::Net, bytes: usize) -> Duration {
    net.run(|| {
        let stream = TcpStream::connect(socket(PUBLIC[0], PORT)).unwrap();
        stream.set_read_timeout(Some(LIMIT * 3)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&vec![7; bytes]).unwrap());
            let mut hello = Vec::new();
            stream.take(bytes as u64).read_to_end(&mut hello).unwrap();
        });
        begun.elapsed()
    })
}

#[test]
fn bandwidth_has_a_bound_in_each_direction() {
    let world = World::new();
    let rate = 4 << 20;
    let slow = world.container(1, &Policy { bytes_per_second: NonZeroU64::new(rate), ..Policy::default() });
    let free = world.container(2, &Policy::default());
    // Four seconds' worth, less what may pass at once.
    let bytes = 16 << 20;
    let took = there_and_back(&slow.net, bytes);
    assert!(took > Duration::from_millis(2500), "{took:?}: above its rate");
    assert!(took < Duration::from_secs(24), "{took:?}: below a sixth of its rate");
    assert!(world.seen(&slow).packets.rate > 0);
    let seen = world.seen(&slow).packets;
    assert!(seen.sent_bytes >= bytes as u64 && seen.received_bytes >= bytes as u64, "{seen:?}");
    let unbound = there_and_back(&free.net, bytes);
    assert!(unbound < took / 2, "{unbound:?}: another container is not held back");
    assert_eq!(world.seen(&free).packets.rate, 0);
}

#[test]
fn connections_have_a_bound_and_room_comes_back() {
    let world = World::new();
    let one = world.container(1, &Policy { connections: 5, ..Policy::default() });
    let connect = || one.net.run(|| TcpStream::connect_timeout(&socket(PUBLIC[0], PORT), LIMIT));
    let open: Vec<TcpStream> = (0..5).map(|_| connect().unwrap()).collect();
    assert!(connect().is_err(), "the sixth");
    assert!(tcp(Some(&one.net), socket(PUBLIC[1], PORT)).is_err(), "of either family");
    assert!(world.seen(&one).packets.connections >= 2);
    let two = world.container(2, &Policy { connections: 5, ..Policy::default() });
    assert!(tcp(Some(&two.net), socket(PUBLIC[0], PORT)).is_ok(), "each has its own");
    drop(open);
    wait_until("there is room again", || connect().is_ok());
}

#[test]
fn a_rate_that_no_kernel_can_count_is_the_highest_it_can() {
    let world = World::new();
    let fast = world.container(1, &Policy { bytes_per_second: NonZeroU64::new(1 << 40), ..Policy::default() });
    there_and_back(&fast.net, 1 << 20);
    assert_eq!(world.seen(&fast).packets.rate, 0);
    assert!(crate::world::sh("nft list ruleset").contains("limit rate over"));
}
