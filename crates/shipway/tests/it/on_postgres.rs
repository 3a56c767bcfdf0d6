//! The platform with its state in PostgreSQL: whatever happens to the server, visitors are
//! served, and when it is back the work goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
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

/// The binary, on a state directory of its own.
fn shipway(state: &Path, words: &[&str], url: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipway"));
    command.args(words).env_clear().env("SHIPWAY_STATE_DIR", state);
    command.envs(url.map(|url| ("DATABASE_URL", url))).output().unwrap()
}

#[test]
fn a_state_is_taken_to_postgresql_and_back() {
    let server = Postgres::start().unwrap();
    let database = server.create(None).unwrap();
    let url = server.url(&database);
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let file = |name: &str| folder.path().join(name).display().to_string();
    let ok = |output: Output| assert!(output.status.success(), "{output:?}");

    ok(shipway(&old, &["db", "export", &file("empty")], None));
    ok(shipway(&new, &["db", "import", &file("empty")], Some(&url)));
    server
        .query(&database, "INSERT INTO image VALUES ('default', 'box:1', 'sha256:01', 1, 1, 'somewhere', 1)")
        .unwrap();
    ok(shipway(&new, &["db", "export", &file("one")], Some(&url)));
    ok(shipway(&old, &["db", "import", &file("one")], None));
    ok(shipway(&old, &["db", "export", &file("same")], None));
    let text = fs::read_to_string(file("one")).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert_eq!(fs::read_to_string(file("same")).unwrap(), text);
    assert_eq!(fs::metadata(file("one")).unwrap().permissions().mode() & 0o777, 0o600);

    for (words, says) in [
        (["db", "import", &file("one")], "not empty"),
        (["db", "export", &file("one")], "cannot make"),
        (["db", "import", &file("nowhere")], "cannot read"),
    ] {
        let refused = shipway(&old, &words, None);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains(says), "{refused:?}");
    }
}
