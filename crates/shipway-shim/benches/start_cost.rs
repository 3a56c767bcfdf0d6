//! What a container costs, from a launch to its known end. Not a test: read the ratios.
//!
//! `cargo bench -p shipway-shim`; set `SHIPWAY_TEST_SHIM` while compiling to measure
//! another build of the program, such as the static one.

#![expect(clippy::expect_used, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, for people")]
#![expect(dead_code, reason = "the tests' world offers more than a measurement needs")]

#[path = "../tests/it/socket.rs"]
mod socket;
#[path = "../tests/it/world.rs"]
mod world;

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use shipway_shim::protocol::{Ask, Launch, Root, Tmpfs, Upper};
use world::World;

const ROUNDS: usize = 300;

fn main() {
    let world = World::new();
    measure(&world, "read-only tree, v1 memory+pids+cpu and v2", |_| ());
    measure(&world, "read-only tree, v2 only", |launch| launch.cgroups.retain(|one| one.v2));
    measure(&world, "read-only tree, no cgroup", |launch| launch.cgroups.clear());
    let top = world.folder.path().join("top");
    std::fs::create_dir(&top).expect("a folder");
    measure(&world, "overlay of 2, upper on tmpfs", |launch| {
        launch.root = Root::Overlay {
            lowers: vec![top.clone(), world.root()],
            upper: Upper::Tmpfs(Tmpfs { size_bytes: 1 << 24, inodes: 4096 }),
        };
    });
    measure_exec(&world);
}

/// Medians of: launch to running, launch to ended and recorded, and all with the
/// cgroups and folders made before and removed after.
fn measure(world: &World, what: &str, change: impl Fn(&mut Launch)) {
    let (mut running, mut ended, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut launch = world.launch("");
        launch.process.argv = vec!["/bin/true".into()];
        let cgroups = launch.cgroups.clone();
        change(&mut launch);
        let sent = Instant::now();
        let container = world.start(&launch);
        running.push(sent.elapsed());
        container.gone();
        ended.push(sent.elapsed());
        assert_eq!(container.wait().code, Some(0));
        for folder in [&launch.state_dir, &launch.run_dir] {
            std::fs::remove_dir_all(folder).expect("the container has ended");
        }
        for cgroup in cgroups {
            world::wait_until("the cgroup is empty", || std::fs::remove_dir(&cgroup.path).is_ok());
        }
        all.push(start.elapsed());
    }
    println!("{what}: running {}, ended {}, all {} µs", median(running), median(ended), median(all));
}

fn measure_exec(world: &World) {
    let container = world.start(&world.launch("sleep 1000"));
    let null = std::fs::File::open("/dev/null").expect("it is there");
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let connection = container.connect();
        let ask = Ask::Exec { process: world::process(&["/bin/true"]), size: None };
        let start = Instant::now();
        world::tell(&connection, &ask, &[null.as_fd(), null.as_fd(), null.as_fd()]);
        world::answer(&connection);
        world::answer(&connection);
        took.push(start.elapsed());
    }
    println!("exec into a running container, to its end: {} µs", median(took));
    container.end();
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times.get(times.len() / 2).map_or(0, Duration::as_micros)
}
