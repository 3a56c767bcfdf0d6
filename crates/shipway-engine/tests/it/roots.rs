//! Root file systems: layers that all share, and what is written over them.

use std::fs;
use std::time::Duration;

use shipway_engine::{ContainerSpec, Root, Tmpfs, Upper};

use crate::world::{World, log, run, soon, start};

/// Writes a mark where the lower has a file, and tells what was there before.
const SCRIPT: &str = "cat /etc/mark 2>/dev/null || echo none; echo written > /etc/mark; cat /srv/extra";

/// The tree of the tests below one more layer.
fn overlay(world: &World, id: &str, script: &str, upper: Upper) -> ContainerSpec {
    let extra = world.path().join("extra");
    fs::create_dir_all(extra.join("srv")).unwrap();
    let durability = shipway_stdx::fs::Durability::Process;
    shipway_stdx::fs::write_atomic(&extra.join("srv/extra"), b"from above\n", 0o644, durability).unwrap();
    let mut spec = world.spec(id, script);
    spec.root = Root::Overlay { lowers: vec![extra, world.tree()], upper };
    (spec.process.uid, spec.process.gid) = (0, 0);
    spec
}

fn tmpfs() -> Upper {
    Upper::Tmpfs(Tmpfs { size_bytes: 1 << 20, inodes: 50 })
}

#[tokio::test]
async fn a_tmpfs_upper_lasts_one_run_and_is_bounded() {
    let world = World::new();
    let engine = world.open().await;
    let (_, first) = run(&engine, overlay(&world, "brief", SCRIPT, tmpfs())).await;
    assert_eq!(first, "none\nfrom above");
    soon(engine.start("brief")).await.unwrap();
    soon(engine.wait("brief")).await.unwrap();
    assert_eq!(log(&engine, "brief").await, [first.as_str(); 2].join("\n"));
    let fill = "dd if=/dev/zero of=/full bs=64k count=100 2>&1";
    let (_, full) = run(&engine, overlay(&world, "full", fill, tmpfs())).await;
    assert!(full.contains("No space left on device"), "{full}");
    assert!(!world.tree().join("etc/mark").exists(), "the layers below stay as they were");
    world.finish(engine).await;
}

#[tokio::test]
async fn a_directory_upper_survives_stop_start_and_a_new_engine() {
    let world = World::new();
    let engine = world.open().await;
    let path = world.path().join("upper");
    for name in ["upper", "work"] {
        fs::create_dir_all(path.join(name)).unwrap();
    }
    let spec = overlay(&world, "kept", SCRIPT, Upper::Directory { path });
    let (_, first) = run(&engine, spec).await;
    assert_eq!(first, "none\nfrom above");
    engine.close().await;
    let engine = world.open().await;
    soon(engine.start("kept")).await.unwrap();
    soon(engine.wait("kept")).await.unwrap();
    assert_eq!(log(&engine, "kept").await, "none\nfrom above\nwritten\nfrom above");
    world.finish(engine).await;
}

#[tokio::test]
async fn layers_are_shared_and_owned_by_each_containers_own_root() {
    let world = World::new();
    let engine = world.open().await;
    let script = "ls -ln /srv/extra /bin/busybox | tr -s ' ' | cut -d' ' -f3,4; exec sleep 1000";
    for id in ["one", "two"] {
        start(&engine, overlay(&world, id, script, tmpfs())).await;
        crate::world::printed(&engine, id, "0 0").await;
    }
    for id in ["one", "two"] {
        soon(engine.stop(id, Duration::ZERO)).await.unwrap();
    }
    world.finish(engine).await;
}
