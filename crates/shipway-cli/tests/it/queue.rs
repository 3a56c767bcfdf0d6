//! The queue at the command line.

use std::time::Duration;

use serde_json::Value;
use shipway_store::{Claimant, LeaseTerms, WorkerFacts};

use crate::typed::{typed, typed_into_nothing};
use crate::world::{HELLO, World};

const LONG: LeaseTerms = LeaseTerms { heartbeat: Duration::from_secs(600), deadline: Duration::from_secs(3600) };

fn facts(id: &str) -> WorkerFacts {
    WorkerFacts {
        id: id.to_owned(),
        host: "host-1".to_owned(),
        engine: Some("e1".to_owned()),
        capacity: 8,
        labels: ["gpu".to_owned(), "ssd".to_owned()].into(),
        version: "0.1.0".to_owned(),
        streams: None,
    }
}

/// A world whose own worker gets nothing, with a deploy that was given up.
async fn with_a_given_up_task() -> World {
    let world = World::start().await;
    world.store.register_worker(&facts("world")).await.unwrap();
    typed(&world, "workers cordon world").await;
    typed(&world, &format!("deploy {HELLO} --script --name poison --no-wait")).await;
    for _ in 0..10 {
        let lease = world.store.claim(&Claimant::named("w1"), LONG).await.unwrap().unwrap();
        world.store.give_back(&lease, Duration::ZERO, true).await.unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_shown_and_done_anew() {
    let world = with_a_given_up_task().await;
    let table = typed(&world, "tasks --service poison").await.out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("WHY"), "{table}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[1..5], ["given_up", "deploy", "poison", "10/10"], "{table}");
    assert!(lines[1].ends_with("given up after 10 attempts: its worker gave it back every time"), "{table}");

    let shown = typed(&world, &format!("tasks show {}", words[0])).await.out;
    assert!(shown.contains("tries        10 of 10, given back 0 times\n"), "{shown}");
    assert!(shown.contains("  claimed    try 1  w1\n") && shown.contains("  failed     try 10\n"), "{shown}");
    let json: Value =
        serde_json::from_str(&typed(&world, &format!("tasks show {} --json", words[0])).await.out).unwrap();
    assert_eq!((&json["state"], &json["history"][0]["change"]), (&"given_up".into(), &"queued".into()));

    let done = typed(&world, "tasks requeue --all").await;
    assert_eq!(done.code, 0);
    assert!(done.err.contains("deploy of poison is asked for anew as task "), "{done:?}");
    let queued = typed(&world, "tasks --state queued --kind deploy").await.out;
    assert!(
        queued.lines().nth(1).unwrap().ends_with("of those who could take it, worker world is cordoned"),
        "{queued}"
    );
    let again = typed(&world, &format!("tasks requeue {}", words[0])).await;
    assert!(again.code == 1 && again.err.contains("only one that was given up"), "{again:?}");
    assert_eq!(typed(&world, "tasks requeue --all").await.err, "no task was given up\n");
    assert_eq!(typed(&world, "tasks show 3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb").await.code, 3);
    assert_eq!(typed(&world, "tasks --worker nobody").await.err, "no such tasks\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_ends_with_its_reader() {
    let world = World::start().await;
    typed(&world, &format!("deploy {HELLO} --script")).await;
    let watched = typed_into_nothing(&world, "tasks --watch");
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), watched).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_and_taken_out() {
    let world = World::start().await;
    assert_eq!(typed(&world, "workers").await.err, "no worker has registered\n");
    world.store.register_worker(&facts("w1")).await.unwrap();
    let table = typed(&world, "workers").await.out;
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("w1  active  0/8") && row.ends_with("s ago  host-1  0.1.0    gpu,ssd  e1"), "{table}");
    assert_eq!(typed(&world, "workers drain w1").await.err, "w1 is draining, with 0 tasks\n");
    assert_eq!(typed(&world, "workers cordon w1").await.err, "w1 is cordoned, with 0 tasks\n");
    let json: Value = serde_json::from_str(&typed(&world, "workers uncordon w1 --json").await.out).unwrap();
    assert_eq!(json[0]["state"], "active");
    assert_eq!(typed(&world, "workers drain nobody").await.code, 3);
    assert_eq!(typed(&world, "workers -q").await.out, "w1\n");
}
