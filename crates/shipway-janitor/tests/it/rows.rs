//! What a janitor does to the store.

use std::time::Duration;

use shipway_janitor::{Forgotten, Janitor, JanitorConfig, Keep, Parts};
use shipway_model::{TaskState, TokenId};
use shipway_stdx::shutdown;
use shipway_store::{Claimant, LeaseTerms, Token, WorkerFacts};
use uuid::Uuid;

use super::world::*;

fn janitor(world: &World, keep: Keep) -> Janitor {
    let config = JanitorConfig { keep, heartbeat: Duration::from_millis(40), every: Duration::from_millis(10) };
    Janitor::new(config, Parts { store: world.store.clone() })
}

const AGES: &str = "UPDATE task SET ended_at = 1; UPDATE release SET created_at = 1; UPDATE worker SET beat_at = 1;
    UPDATE event SET at = 1; UPDATE deposit SET created_at = 1; UPDATE token SET expires_at = 1; DELETE FROM instance WHERE role <> 'live'";

async fn everything_old() -> World {
    let world = world().await;
    for round in 0..15 {
        world.deploy("hello", &digest(round), &digest(99)).await;
    }
    let deleted = world.deploy("deleted", &digest(50), &digest(99)).await;
    let token = Token {
        id: TokenId(Uuid::new_v4()),
        name: "laptop".to_owned(),
        role: "admin".to_owned(),
        project: shipway_model::ProjectName::default(),
        created_at: 1,
        expires_at: Some(1),
        last_used_at: None,
    };
    world.add_token(&token, [1; 32], "local").await.unwrap();
    let facts = WorkerFacts {
        id: "gone".to_owned(),
        host: "host".to_owned(),
        engine: None,
        capacity: 1,
        labels: std::collections::BTreeSet::new(),
        version: "0".to_owned(),
        streams: None,
    };
    world.register_worker(&facts).await.unwrap();
    world.put_deposit(&digest(77), std::io::Cursor::new(b"an upload".to_vec())).await.unwrap();
    world.spoil(AGES).await;
    world.spoil("DELETE FROM service WHERE name = 'deleted'").await;
    assert!(world.find_service_by_id(deleted).await.unwrap().is_none());
    world
}

#[tokio::test]
async fn one_round_forgets_all_that_is_old_and_the_next_finds_nothing() {
    let world = everything_old().await;
    let janitor = janitor(&world, Keep { events: 20, ..Keep::default() });
    let first = janitor.tick_forget().await.unwrap();
    // Of 15 releases ten and the live one stay; of 61 events of one service twenty; the
    // other's four go.
    let hello = 15 * 4 - 20;
    let expected = Forgotten {
        releases: 4,
        tasks: 16,
        given_up: 0,
        events: hello + 4,
        tokens: 1,
        builds: 0,
        workers: 1,
        deposits: 1,
    };
    assert_eq!(first, expected);
    // The token is gone now, so its events' time has begun.
    assert_eq!(janitor.tick_forget().await.unwrap(), Forgotten::default());
    let left = world.list_services(&shipway_model::ProjectName::default(), None, 10).await.unwrap();
    let numbers: Vec<u32> =
        world.list_releases(left[0].id, None, 100).await.unwrap().iter().map(|release| release.number).collect();
    assert_eq!(numbers, (5..=15).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_goes_that_is_young() {
    let world = world().await;
    for round in 0..15 {
        world.deploy("hello", &digest(round), &digest(99)).await;
    }
    let keep = Keep { tasks: 0, releases: 0, ..Keep::default() };
    assert_eq!(janitor(&world, keep).tick_forget().await.unwrap(), Forgotten::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_at_once_forget_the_same_as_one() {
    let world = everything_old().await;
    let all = (0..4).map(|_| {
        let janitor = janitor(&world, Keep { events: 20, ..Keep::default() });
        tokio::spawn(async move { janitor.tick_forget().await.unwrap() })
    });
    let mut sum = Forgotten::default();
    for one in all.collect::<Vec<_>>() {
        let one = one.await.unwrap();
        sum.releases += one.releases;
        sum.tasks += one.tasks;
        sum.events += one.events;
        sum.tokens += one.tokens;
        sum.workers += one.workers;
        sum.deposits += one.deposits;
    }
    let expected =
        Forgotten { releases: 4, tasks: 16, given_up: 0, events: 44, tokens: 1, builds: 0, workers: 1, deposits: 1 };
    assert_eq!(sum, expected);
}

#[tokio::test]
async fn running_it_gives_lost_tasks_back_and_ends_when_told() {
    let world = world().await;
    let url = shipway_model::task::Content::Url { url: "http://127.0.0.1/".to_owned() };
    let task = world.ask("hello", deploy(url)).await.task;
    let short = LeaseTerms { heartbeat: Duration::from_millis(1), deadline: Duration::from_secs(60) };
    world.claim(&Claimant::named("lost"), short).await.unwrap().unwrap();
    let (stop, shutdown) = shutdown::channel();
    let running = tokio::spawn(janitor(&world, Keep::default()).run(shutdown));
    let given_back = async {
        while world.find_task(task).await.unwrap().unwrap().state == TaskState::Running {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), given_back).await.unwrap();
    stop.request();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_and_no_end() {
    let world = everything_old().await;
    let janitor = janitor(&world, Keep::default());
    world.store.close().await;
    assert!(janitor.tick_rescue().await.is_err());
    assert!(janitor.tick_forget().await.is_err());
}
