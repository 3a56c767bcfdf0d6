//! Warm sandboxes: used when they are there, missed by nobody when they are not.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use shipway_engine::{Engine, EngineConfig, EngineError, Ingress, Phase};

use crate::world::{World, kill, log, printed, shims, soon, start, wait_until};

/// What runs our program besides the launcher: each sandbox that waits is two processes.
fn waiting(world: &World) -> usize {
    shims(world).len().saturating_sub(1)
}

/// Shim and child of the one sandbox there is.
fn sandbox(world: &World) -> (i32, i32) {
    let all = shims(world);
    let parent = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        line.trim().parse::<i32>().unwrap()
    };
    let shim = all.iter().copied().find(|pid| all.contains(&parent(*pid)) && all.iter().any(|p| parent(*p) == *pid));
    let shim = shim.unwrap();
    (shim, all.iter().copied().find(|pid| parent(*pid) == shim).unwrap())
}

async fn prepared(engine: &Engine, world: &World, id: &str, script: &str) {
    engine.create(world.spec(id, script)).await.unwrap();
    soon(engine.prepare(id)).await.unwrap();
}

async fn open(world: &World, change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = world.config();
    change(&mut config);
    Engine::open(config).await.unwrap()
}

#[tokio::test]
async fn a_prepared_container_is_started_from_its_sandbox() {
    let world = World::new();
    let engine = world.open().await;
    prepared(&engine, &world, "warm", "echo hello; exec sleep 1000").await;
    soon(engine.prepare("warm")).await.unwrap();
    assert_eq!(engine.inspect("warm").unwrap().phase, Phase::Created);
    assert_eq!((waiting(&world), log(&engine, "warm").await.as_str()), (2, ""), "one, and it has not run");
    let there: BTreeSet<i32> = shims(&world).into_iter().collect();
    let running = soon(engine.start("warm")).await.unwrap();
    assert!(there.contains(&running.shim.pid) && there.contains(&running.init.pid), "another one runs");
    printed(&engine, "warm", "hello").await;
    assert!(engine.stats("warm").await.unwrap().usage.pids >= 1);
    let refused = engine.prepare("warm").await;
    assert!(matches!(refused, Err(EngineError::Running(_))));
    let exited = soon(engine.stop("warm", Duration::ZERO)).await.unwrap();
    assert_eq!((exited.signal, exited.lost), (Some(9), false));
    world.finish(engine).await;
}

#[tokio::test]
async fn a_sandbox_that_was_killed_is_replaced_by_the_start() {
    let world = World::new();
    let engine = world.open().await;
    for (id, whole) in [("shim", true), ("child", false)] {
        prepared(&engine, &world, id, "echo ran").await;
        let (shim, child) = sandbox(&world);
        kill(if whole { shim } else { child });
        soon(engine.start(id)).await.unwrap();
        let exited = soon(engine.wait(id)).await.unwrap();
        assert_eq!((exited.code, exited.lost), (Some(0), false));
        assert_eq!(log(&engine, id).await, "ran", "once");
        wait_until("only the launcher is left", || waiting(&world) == 0).await;
    }
    world.finish(engine).await;
}

#[tokio::test]
async fn a_sandbox_that_died_is_noticed_and_can_be_made_again() {
    let world = World::new();
    let engine = open(&world, |config| config.prepared_max = 1).await;
    prepared(&engine, &world, "again", "exit 3").await;
    let (shim, _) = sandbox(&world);
    kill(shim);
    wait_until("it is dead", || !shims(&world).contains(&shim)).await;
    // Until its socket has ended too, it counts as waiting; then its place is free.
    let made_again = async {
        loop {
            engine.prepare("again").await.unwrap();
            if waiting(&world) == 2 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(made_again).await;
    soon(engine.start("again")).await.unwrap();
    assert_eq!(soon(engine.wait("again")).await.unwrap().code, Some(3));
    world.finish(engine).await;
}

#[tokio::test]
async fn only_so_many_wait_at_a_time() {
    let world = World::new();
    let engine = open(&world, |config| config.prepared_max = 2).await;
    for id in ["a", "b"] {
        prepared(&engine, &world, id, "exit 0").await;
    }
    engine.create(world.spec("c", "exit 0")).await.unwrap();
    let refused = engine.prepare("c").await;
    assert!(matches!(refused, Err(EngineError::Full(_))), "{refused:?}");
    soon(engine.start("a")).await.unwrap();
    soon(engine.prepare("c")).await.unwrap();
    engine.remove("b").await.unwrap();
    engine.create(world.spec("b", "exit 0")).await.unwrap();
    soon(engine.prepare("b")).await.unwrap();
    for id in ["b", "c"] {
        soon(engine.start(id)).await.unwrap();
        assert_eq!(soon(engine.wait(id)).await.unwrap().code, Some(0));
    }
    world.finish(engine).await;
}

#[tokio::test]
async fn none_waits_for_ever() {
    let world = World::new();
    let engine = open(&world, |config| config.prepared_for = Duration::from_millis(30)).await;
    prepared(&engine, &world, "old", "exit 4").await;
    wait_until("it has gone", || waiting(&world) == 0).await;
    assert_eq!(engine.inspect("old").unwrap().phase, Phase::Created);
    soon(engine.start("old")).await.unwrap();
    assert_eq!(soon(engine.wait("old")).await.unwrap().code, Some(4));
    world.finish(engine).await;
}

#[tokio::test]
async fn it_is_removed_with_its_container_and_closed_with_the_engine() {
    let world = World::new();
    let engine = world.open().await;
    prepared(&engine, &world, "removed", "exit 0").await;
    prepared(&engine, &world, "closed", "exit 0").await;
    assert_eq!(waiting(&world), 4);
    engine.remove("removed").await.unwrap();
    assert_eq!(waiting(&world), 2);
    engine.close().await;
    wait_until("the launcher has gone too", || shims(&world).is_empty()).await;
    let engine = world.open().await;
    assert_eq!(engine.inspect("closed").unwrap().phase, Phase::Created);
    world.finish(engine).await;
}

#[tokio::test]
async fn an_engine_that_is_dropped_lets_it_go() {
    let world = World::new();
    let engine = world.open().await;
    prepared(&engine, &world, "dropped", "exit 5").await;
    drop(engine);
    wait_until("it has gone", || shims(&world).is_empty()).await;
    let engine = world.open().await;
    soon(engine.start("dropped")).await.unwrap();
    assert_eq!(soon(engine.wait("dropped")).await.unwrap().code, Some(5));
    world.finish(engine).await;
}

#[tokio::test]
async fn the_last_run_is_known_until_the_next_begins() {
    let world = World::new();
    let engine = world.open().await;
    let id = start(&engine, world.spec("twice", "echo hello; exit 3")).await;
    let first = soon(engine.wait(&id)).await.unwrap();
    soon(engine.prepare(&id)).await.unwrap();
    assert_eq!(engine.inspect(&id).unwrap().phase, Phase::Exited(first));
    engine.close().await;
    let engine = world.open().await;
    assert_eq!(engine.inspect(&id).unwrap().phase, Phase::Exited(first), "on disk too");
    soon(engine.prepare(&id)).await.unwrap();
    soon(engine.start(&id)).await.unwrap();
    let second = soon(engine.wait(&id)).await.unwrap();
    assert_eq!(second.code, Some(3));
    assert!(second.ended_at > first.ended_at);
    assert_eq!(log(&engine, &id).await, "hello\nhello");
    world.finish(engine).await;
}

#[tokio::test]
async fn visitors_of_one_that_is_prepared_wait_for_its_start() {
    let world = World::new();
    let engine = world.open().await;
    let mut spec = world.spec("listener", "readlink /proc/self/fd/3; echo $LISTEN_FDS; exec sleep 1000");
    spec.ingress = Ingress::Listener;
    engine.create(spec).await.unwrap();
    soon(engine.prepare("listener")).await.unwrap();
    let path = engine.endpoint("listener").unwrap().unwrap();
    let visitor = UnixStream::connect(&path).unwrap();
    let inode = std::fs::symlink_metadata(&path).unwrap().ino();
    soon(engine.start("listener")).await.unwrap();
    printed(&engine, "listener", "1").await;
    assert!(log(&engine, "listener").await.starts_with("socket:["));
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().ino(), inode, "the one they wait at");
    // Its other side ends with the container, so it was there.
    soon(engine.stop("listener", Duration::ZERO)).await.unwrap();
    visitor.set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
    let end = (&visitor).read(&mut [0]);
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    world.finish(engine).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_the_starts_to_say() {
    let world = World::new();
    let engine = world.open().await;
    let mut spec = world.spec("nothing", "");
    spec.process.argv = vec!["/bin/no-such-program".to_owned()];
    engine.create(spec).await.unwrap();
    soon(engine.prepare("nothing")).await.unwrap();
    let failed = soon(engine.start("nothing")).await.unwrap_err();
    assert!(matches!(failed, EngineError::Start { errno: 2, .. }), "{failed}");
    assert_eq!(engine.inspect("nothing").unwrap().phase, Phase::Created);
    wait_until("nothing of it is left", || waiting(&world) == 0).await;
    world.finish(engine).await;
}

#[tokio::test]
async fn preparing_starting_and_removing_at_once_end_well() {
    let world = World::new();
    let engine = open(&world, |config| config.prepared_max = 4).await;
    let runs = (0..12).map(|n| {
        let (engine, spec) = (engine.clone(), world.spec(&format!("n-{n}"), "exit 6"));
        tokio::spawn(async move {
            let id = spec.id.clone();
            engine.create(spec).await.unwrap();
            let preparing = engine.prepare(&id);
            let starting = engine.start(&id);
            let (prepared, started) = tokio::join!(preparing, starting);
            // Full, or it runs already: either is an answer, and the start is not hurt.
            drop(prepared);
            started.unwrap();
            let code = engine.wait(&id).await.unwrap().code;
            let (prepared, removed) = tokio::join!(engine.prepare(&id), engine.remove(&id));
            drop(prepared);
            removed.unwrap();
            code
        })
    });
    let runs: Vec<_> = runs.collect();
    for run in runs {
        assert_eq!(soon(run).await.unwrap(), Some(6));
    }
    world.finish(engine).await;
}
