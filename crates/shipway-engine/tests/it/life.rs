//! Create, start, stop, wait, remove.

use std::time::Duration;

use shipway_engine::{Engine, EngineError, Exited, LogQuery, Phase};

use crate::world::{World, log, printed, run, soon, start, wait_until};

fn code(exited: Exited) -> (Option<i32>, Option<i32>, bool) {
    (exited.code, exited.signal, exited.lost)
}

#[tokio::test]
async fn a_container_runs_and_says_how_it_ended() {
    let world = World::new();
    let engine = world.open().await;
    let script = "echo out; echo err >&2; id -u; hostname; exit 7";
    let (exited, log) = run(&engine, world.spec("c-1", script)).await;
    assert_eq!(code(exited), (Some(7), None, false));
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1000", "c-1", "err", "out"]);
    let seen = engine.inspect("c-1").unwrap();
    assert_eq!(seen.phase, Phase::Exited(exited));
    assert!(seen.started_at.unwrap() <= exited.ended_at.unwrap());
    assert_eq!(seen.labels["test"], "c-1");
    world.finish(engine).await;
}

#[tokio::test]
async fn it_can_be_started_again_and_its_log_goes_on() {
    let world = World::new();
    let engine = world.open().await;
    let id = "again".to_owned();
    engine.create(world.spec(&id, "echo hello; exit 3")).await.unwrap();
    for round in 1..=3 {
        soon(engine.start(&id)).await.unwrap();
        let exited = soon(engine.wait(&id)).await.unwrap();
        assert_eq!(exited.code, Some(3));
        assert_eq!(log(&engine, &id).await, ["hello"; 3][..round].join("\n"));
    }
    world.finish(engine).await;
}

#[tokio::test]
async fn start_is_idempotent_also_at_once() {
    let world = World::new();
    let engine = world.open().await;
    let spec = world.spec("once", "echo ready; exec sleep 1000");
    engine.create(spec.clone()).await.unwrap();
    engine.create(spec).await.unwrap();
    let starts = (0..8).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.start("once").await.unwrap().init })
    });
    let mut inits = Vec::new();
    for start in starts {
        inits.push(soon(start).await.unwrap());
    }
    inits.dedup();
    assert_eq!(inits.len(), 1, "one container, whoever asks");
    let other = world.spec("once", "something else");
    let refused = engine.create(other).await;
    assert!(matches!(refused, Err(EngineError::Exists(_))));
    let refused = engine.remove("once").await;
    assert!(matches!(refused, Err(EngineError::Running(_))));
    world.finish(engine).await;
}

#[tokio::test]
async fn stop_asks_first_and_kills_then() {
    let world = World::new();
    let engine = world.open().await;
    let obeys = "trap 'exit 9' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let obeys = start(&engine, world.spec("obeys", obeys)).await;
    let ignores = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let ignores = start(&engine, world.spec("ignores", ignores)).await;
    for id in [&obeys, &ignores] {
        printed(&engine, id, "ready").await;
    }
    let exited = soon(engine.stop(&obeys, Duration::from_secs(20))).await;
    assert_eq!(code(exited.unwrap()), (Some(9), None, false));
    let exited = soon(engine.stop(&ignores, Duration::from_millis(100))).await;
    assert_eq!(code(exited.unwrap()), (None, Some(9), false));
    assert_eq!(soon(engine.stop(&obeys, Duration::ZERO)).await.unwrap().code, Some(9), "it had ended already");
    world.finish(engine).await;
}

#[tokio::test]
async fn signals_arrive_and_children_go_with_the_first_process() {
    let world = World::new();
    let engine = world.open().await;
    let script = "trap 'echo usr1; exit 0' USR1; (trap '' TERM HUP; sleep 1000) & \
                  echo ready; while :; do sleep 1000 & wait; done";
    let id = start(&engine, world.spec("signal", script)).await;
    printed(&engine, &id, "ready").await;
    let mut before = 0;
    while before < 3 {
        // The shell and its two children, of which one is born after the word.
        before = soon(engine.stats(&id)).await.unwrap().usage.pids;
        tokio::task::yield_now().await;
    }
    engine.signal(&id, 10).await.unwrap();
    let exited = soon(engine.wait(&id)).await.unwrap();
    assert_eq!(code(exited), (Some(0), None, false));
    let refused = engine.signal(&id, 10).await;
    assert!(matches!(refused, Err(EngineError::NotRunning(_))));
    world.finish(engine).await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    let world = World::new();
    let engine = world.open().await;
    let mut spec = world.spec("nothing", "");
    spec.process.argv = vec!["/bin/no-such-program".to_owned()];
    engine.create(spec).await.unwrap();
    let failed = soon(engine.start("nothing")).await.unwrap_err();
    assert!(matches!(failed, EngineError::Start { errno: 2, .. }), "{failed}");
    assert_eq!(engine.inspect("nothing").unwrap().phase, Phase::Created);
    let failed = engine.wait("nothing").await;
    assert!(matches!(failed, Err(EngineError::NotRunning(_))));
    world.finish(engine).await;
}

#[tokio::test]
async fn unknown_ids_and_impossible_specs_are_refused() {
    let world = World::new();
    let engine = world.open().await;
    let unknown = |error: Option<EngineError>| {
        assert!(matches!(error, Some(EngineError::Unknown(id)) if id == "nobody"));
    };
    unknown(engine.start("nobody").await.err());
    unknown(engine.wait("nobody").await.err());
    unknown(engine.stop("nobody", Duration::ZERO).await.err());
    unknown(engine.remove("nobody").await.err());
    unknown(engine.inspect("nobody").err());
    unknown(engine.stats("nobody").await.err());
    unknown(engine.logs("nobody", LogQuery::default()).await.err());
    let refused = engine.create(world.spec("../escape", "")).await;
    assert!(matches!(refused, Err(EngineError::Invalid(_))));
    world.finish(engine).await;
}

#[tokio::test]
async fn there_are_only_as_many_as_may_be() {
    let world = World::new();
    let mut config = world.config();
    config.containers_max = 2;
    let engine = Engine::open(config).await.unwrap();
    for id in ["a", "b"] {
        engine.create(world.spec(id, "")).await.unwrap();
    }
    let refused = engine.create(world.spec("c", "")).await;
    assert!(matches!(refused, Err(EngineError::Full(_))));
    engine.remove("a").await.unwrap();
    engine.create(world.spec("c", "")).await.unwrap();
    world.finish(engine).await;
}

#[tokio::test]
async fn thirty_at_once_all_run_and_all_go() {
    let world = World::new();
    let engine = world.open().await;
    let runs = (0..30).map(|n| {
        let (engine, spec) = (engine.clone(), world.spec(&format!("n-{n}"), "exit 0"));
        tokio::spawn(async move { run(&engine, spec).await.0.code })
    });
    for run in runs {
        assert_eq!(soon(run).await.unwrap(), Some(0));
    }
    world.finish(engine).await;
}

#[tokio::test]
async fn a_root_has_one_owner() {
    let world = World::new();
    let engine = world.open().await;
    let second = Engine::open(world.config()).await.unwrap_err();
    assert!(matches!(second, EngineError::Owned { .. }), "{second}");
    drop(engine);
    let mut reopened = None;
    // Its last task lets go of it a moment after the drop.
    for _ in 0..100 {
        match Engine::open(world.config()).await {
            Ok(engine) => {
                reopened = Some(engine);
                break;
            }
            Err(EngineError::Owned { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    wait_until("it is ours again", || reopened.is_some()).await;
    world.finish(reopened.unwrap()).await;
}
