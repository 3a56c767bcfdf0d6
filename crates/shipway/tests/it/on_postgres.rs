//! The platform with its state in PostgreSQL: whatever happens to the server, visitors are
//! served, and when it is back the work goes on.

use std::fs;
use std::time::Duration;

use shipway_testkit::{Postgres, Stop, wait_until};

use crate::visitors::Visitors;
use crate::world::{SOON, World};

#[test]
fn a_platform_on_postgresql_outlives_its_database_and_itself() {
    let server = Postgres::start().unwrap();
    let url = server.url(&server.create(None).unwrap());
    let mut world = World::with(&[("DATABASE_URL", &url)]);
    assert!(!world.platform.state_dir().join("shipway.sqlite").exists());
    world.script("steady", "#!/bin/sh\necho one\n");
    world.script("steady", "#!/bin/sh\necho two\n");
    assert_eq!(world.visit("steady"), "two\n");
    let visitor = Visitors::start(&world, "steady", 1);

    for how in [Stop::Immediate, Stop::Fast] {
        server.stop(how).unwrap();
        visitor.wait_for_more(20);
        let refused = world.platform.cli(&["ps"]).unwrap();
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(refused.stderr.contains("The store cannot be used now"), "{refused:?}");
        server.resume().unwrap();
        wait_until("the API works again", SOON, || (world.platform.cli(&["ps"]).ok()?.code == 0).then_some(()));
    }
    world.script("later", "#!/bin/sh\necho later\n");
    assert_eq!(world.visit("later"), "later\n");

    // Killed, and started again while the server is away.
    world.platform.kill().unwrap();
    server.stop(Stop::Immediate).unwrap();
    let log = world.platform.state_dir().with_file_name("serve.log");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("it waits for the database", SOON, || {
                fs::read_to_string(&log).ok()?.contains("waiting for the database").then_some(())
            });
            server.resume().unwrap();
        });
        world.platform.restart().unwrap();
    });
    visitor.wait_for_more(20);
    world.script("steady", "#!/bin/sh\necho three\n");
    assert_eq!(world.visit("steady"), "three\n");
    assert!(visitor.end().longest_silence < Duration::from_secs(1));
    assert!(world.ok(&["events", "steady"]).stdout.contains("release 3"), "one history");
}
