//! Limits that really stop what they should, and usage that is really measured.

use std::time::{Duration, Instant};

use crate::world::{World, printed, run, soon, start};

#[tokio::test]
async fn a_fork_bomb_stops_at_its_limit() {
    let world = World::new();
    let engine = world.open().await;
    let script = "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo no limit";
    let (exited, log) = run(&engine, world.spec("bomb", script)).await;
    assert_ne!(exited.code, Some(0));
    assert!(log.contains("can't fork"), "{log}");
    assert!(!log.contains("no limit"), "{log}");
    world.finish(engine).await;
}

#[tokio::test]
async fn a_memory_hog_is_killed_and_it_is_said_why() {
    let world = World::new();
    let engine = world.open().await;
    // `exec`: the hog is the first process, so its death is the container's.
    let script = "exec dd if=/dev/zero of=/dev/null bs=200M count=1";
    let (exited, _) = run(&engine, world.spec("hog", script)).await;
    assert_eq!((exited.signal, exited.out_of_memory), (Some(9), true));
    let script = "exit 0";
    let (exited, _) = run(&engine, world.spec("modest", script)).await;
    assert_eq!((exited.code, exited.out_of_memory), (Some(0), false));
    world.finish(engine).await;
}

#[tokio::test]
async fn a_disk_filler_meets_a_full_disk() {
    let world = World::new();
    let engine = world.open().await;
    let script = "dd if=/dev/zero of=/tmp/full bs=1M count=20 2>&1; touch /bin/x 2>&1; \
                  i=0; while touch /tmp/$i 2>/dev/null && [ $i -lt 1000 ]; do i=$((i+1)); done; \
                  echo files $i";
    let (_, log) = run(&engine, world.spec("filler", script)).await;
    assert!(log.contains("No space left on device"), "{log}");
    assert!(log.contains("Read-only file system"), "{log}");
    let files = log.rsplit("files ").next().unwrap();
    assert!(files.trim().parse::<u32>().unwrap() < 200, "{log}");
    world.finish(engine).await;
}

#[tokio::test]
async fn usage_is_measured() {
    let world = World::new();
    let engine = world.open().await;
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
                  dd if=/dev/zero of=/tmp/x bs=1M count=3 2>/dev/null; echo ready; exec sleep 1000";
    start(&engine, world.spec("busy", script)).await;
    printed(&engine, "busy", "ready").await;
    let stats = engine.stats("busy").await.unwrap();
    assert!(stats.usage.cpu_usec > 1000, "{stats:?}");
    assert!(stats.usage.memory_bytes >= 3 << 20, "the tmpfs counts: {stats:?}");
    assert!(stats.usage.memory_peak_bytes >= stats.usage.memory_bytes, "{stats:?}");
    assert_eq!((stats.usage.pids, stats.limits.pids), (1, 32));
    world.finish(engine).await;
}

/// Whatever else the machine does, a tenth of a processor cannot do 60 ms of work in
/// less than five windows of 100 ms.
#[tokio::test]
async fn a_processor_limit_takes_its_time() {
    let world = World::new();
    let engine = world.open().await;
    let mut spec = world.spec("spins", "while :; do :; done");
    spec.limits.cpu_millis = 100;
    let id = start(&engine, spec).await;
    let at = Instant::now();
    let used = async || engine.stats(&id).await.unwrap().usage.cpu_usec;
    let before = soon(used()).await;
    soon(async { while used().await < before + 60_000 {} }).await;
    assert!(at.elapsed() > Duration::from_millis(350), "{:?}", at.elapsed());
    world.finish(engine).await;
}
