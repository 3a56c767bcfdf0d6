//! Figures: what happens in the store and what is counted agree.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use shipway_janitor::Gauges;
use shipway_store::{Claimant, LeaseTerms, WorkerFacts, WorkerState};

use super::world::*;

fn facts(id: &str) -> WorkerFacts {
    WorkerFacts {
        id: id.to_owned(),
        host: "host".to_owned(),
        engine: None,
        capacity: 8,
        labels: std::collections::BTreeSet::new(),
        version: "0".to_owned(),
        streams: None,
    }
}

/// A deploy that is done, one that waits, one that was rescued and one that was given up;
/// three workers, one of them silent.
async fn some_of_everything() {
    let world = world().await;
    let url = || shipway_model::task::Content::Url { url: "http://127.0.0.1/".to_owned() };
    world.deploy("done", &digest(1), &digest(2)).await;
    world.ask("poison", deploy(url())).await;
    for _ in 0..10 {
        let lease = world.take().await;
        world.give_back(&lease, Duration::ZERO, true).await.unwrap();
    }
    world.ask("lost", deploy(url())).await;
    let short = LeaseTerms { heartbeat: Duration::from_millis(1), deadline: Duration::from_secs(60) };
    let lost = world.claim(&Claimant::named("lost"), short).await.unwrap().unwrap();
    let rescued = async {
        while world.rescue(false).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rescued).await.unwrap();
    assert!(world.heartbeat(&lost, LONG).await.is_err(), "a stale write");
    for worker in ["w1", "w2", "w3"] {
        world.register_worker(&facts(worker)).await.unwrap();
    }
    world.set_worker_state("w2", WorkerState::Cordoned).await.unwrap();
    world.spoil("UPDATE worker SET beat_at = 1 WHERE id = 'w3'").await;
    Gauges::new(world.store.clone(), Duration::from_secs(600)).tick().await;
}

#[test]
fn what_happened_is_told_in_figures() {
    let recorder = PrometheusBuilder::new().set_buckets(&[1.0, 5.0, 10.0]).unwrap().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Writes run in tasks of their own, on this same thread.
    metrics::with_local_recorder(&recorder, || runtime.block_on(some_of_everything()));
    let text = handle.render();
    for line in [
        "shipway_store_up 1",
        "shipway_store_stale_writes_total 1",
        r#"shipway_queue_tasks{state="queued",kind="deploy"} 1"#,
        r#"shipway_queue_tasks{state="running",kind="repair"} 0"#,
        "shipway_queue_due_tasks 1",
        "shipway_queue_given_up_tasks 1",
        r#"shipway_queue_given_up_total{kind="deploy"} 1"#,
        r#"shipway_queue_rescued_total{cause="worker_lost"} 1"#,
        r#"shipway_queue_rescue_seconds_count{cause="worker_lost"} 1"#,
        r#"shipway_queue_attempts_bucket{kind="deploy",state="done",le="1"} 1"#,
        r#"shipway_queue_attempts_bucket{kind="deploy",state="failed",le="5"} 0"#,
        r#"shipway_queue_attempts_bucket{kind="deploy",state="failed",le="10"} 1"#,
        r#"shipway_queue_wait_seconds_count{kind="deploy",try="first"} 3"#,
        r#"shipway_queue_wait_seconds_count{kind="deploy",try="again"} 9"#,
        r#"shipway_services{state="live"} 1"#,
        r#"shipway_services{state="stopped"} 0"#,
        r#"shipway_workers{state="active"} 1"#,
        r#"shipway_workers{state="cordoned"} 1"#,
        r#"shipway_workers{state="silent"} 1"#,
        "shipway_workers_capacity_tasks 16",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[test]
fn without_the_store_it_is_told_that_it_is_away() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let away = async {
        let world = world().await;
        let gauges = Gauges::new(world.store.clone(), Duration::from_secs(1));
        world.store.close().await;
        gauges.tick().await;
    };
    metrics::with_local_recorder(&recorder, || runtime.block_on(away));
    assert!(handle.render().lines().any(|line| line == "shipway_store_up 0"), "{}", handle.render());
}
