//! Whose task is next when there are several projects, engines, labels, workers.

use std::collections::HashMap;
use std::time::Duration;

use shipway_model::{ProjectName, TaskPayload};
use shipway_store::{Claimant, Request, WorkerFacts, WorkerState};

use super::world::*;

fn of_project(project: &str, service: &str) -> Request {
    let project: ProjectName = project.parse().unwrap();
    Request { project, ..first_deploy(service) }
}

impl World {
    async fn flood(&self, project: &str, tasks: usize) {
        for task in 0..tasks {
            self.request(of_project(project, &format!("{project}-{task}"))).await.unwrap();
        }
    }

    /// Claims, and says whose task it was.
    async fn turn(&self, claimant: &Claimant) -> Option<String> {
        Some(self.claim(claimant, LONG).await.unwrap()?.task.project.to_string())
    }
}

#[tokio::test]
async fn one_who_floods_the_queue_does_not_keep_another_waiting() {
    let world = world().await;
    world.flood("flood", 60).await;
    world.flood("drip", 3).await;
    let mut order = Vec::new();
    for _ in 0..8 {
        order.push(world.turn(&who("worker")).await.unwrap());
    }
    assert_eq!(order, ["flood", "drip", "flood", "drip", "flood", "drip", "flood", "flood"]);
}

#[tokio::test]
async fn who_comes_to_a_queue_that_was_one_projects_own_has_the_next_turn() {
    let world = world().await;
    world.flood("m", 5).await;
    for _ in 0..2 {
        assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("m"));
    }
    // One before it in the order of names, and one behind.
    world.flood("z", 1).await;
    assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("z"));
    assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("m"));
    world.flood("a", 2).await;
    assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("a"));
    assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("a"));
    assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("m"));
    // The others' tasks are all at work: it is alone again.
    assert_eq!(world.turn(&who("worker")).await.as_deref(), Some("m"));
    assert_eq!(world.turn(&who("worker")).await, None);
}

#[tokio::test]
async fn a_project_has_no_more_at_work_than_its_cap_and_nobody_is_woken_for_the_rest() {
    let world = world().await;
    world.flood("a", 5).await;
    let capped = Claimant { project_max: Some(2), ..who("worker") };
    let first = world.claim(&capped, LONG).await.unwrap().unwrap();
    assert!(world.turn(&capped).await.is_some());
    assert_eq!(world.turn(&capped).await, None);
    assert_eq!(world.next_due(&capped).await.unwrap(), None);
    world.flood("b", 1).await;
    assert!(world.next_due(&capped).await.unwrap().is_some());
    assert_eq!(world.turn(&capped).await.as_deref(), Some("b"), "the cap is a project's own");
    world.finish(&first, &done(None)).await.unwrap();
    assert_eq!(world.turn(&capped).await.as_deref(), Some("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_cap_holds_when_all_claim_at_once() {
    let world = world().await;
    world.flood("a", 12).await;
    let capped = Claimant { project_max: Some(3), ..who("worker") };
    let claims = (0..8).map(|_| {
        let (store, capped) = (world.store.clone(), capped.clone());
        tokio::spawn(async move { store.claim(&capped, LONG).await.unwrap().is_some() })
    });
    let taken = futures_util::future::join_all(claims).await.into_iter().filter(|taken| *taken.as_ref().unwrap());
    assert_eq!(taken.count(), 3);
}

#[tokio::test]
async fn a_service_stays_with_the_engine_that_took_it_first() {
    let world = world().await;
    let (here, there) = ("here".to_owned(), "there".to_owned());
    let here = Claimant { engine: Some(here), ..who("a") };
    let there = Claimant { engine: Some(there), ..who("b") };
    let id = world.ask_first("hello").await.service.id;
    let lease = world.claim(&here, LONG).await.unwrap().unwrap();
    world.make_live(&lease).await;
    world.ask(id, TaskPayload::Restart).await;
    assert!(world.claim(&there, LONG).await.unwrap().is_none());
    assert_eq!(world.next_due(&there).await.unwrap(), None, "nobody is woken for what is not his");
    assert!(world.claim(&who("any"), LONG).await.unwrap().is_none(), "one without an engine cannot reach it");
    let lease = world.claim(&here, LONG).await.unwrap().unwrap();
    assert_eq!(lease.task.subject.service(), Some(id));
    world.give_back(&lease, Duration::ZERO, false).await.unwrap();
    assert!(world.claim(&there, LONG).await.unwrap().is_none(), "given back, it still has its containers there");
    assert_eq!(world.service(id).await.engine.as_deref(), Some("here"));
    assert_eq!(world.list_services_of("here", None, 10).await.unwrap().len(), 1);
    assert_eq!(world.list_services_of("there", None, 10).await.unwrap(), []);
    // A new service is for whoever comes.
    world.ask_first("next").await;
    assert!(world.claim(&there, LONG).await.unwrap().is_some());
}

#[tokio::test]
async fn a_service_that_was_never_live_is_tried_elsewhere() {
    let world = world().await;
    let (here, there) = ("here".to_owned(), "there".to_owned());
    let here = Claimant { engine: Some(here), ..who("a") };
    let there = Claimant { engine: Some(there), ..who("b") };
    let id = world.ask_first("hello").await.service.id;
    world.claim(&here, LONG).await.unwrap().unwrap();
    assert_eq!(world.rescue_worker("a").await.unwrap(), 1);
    let lease = world.claim(&there, LONG).await.unwrap().expect("it has nothing on the lost engine");
    world.make_live(&lease).await;
    assert_eq!(world.service(id).await.engine.as_deref(), Some("there"));
}

#[tokio::test]
async fn a_task_goes_only_where_all_its_labels_are() {
    let world = world().await;
    world.ask_first("hello").await;
    world.spoil("UPDATE task SET labels = '[\"gpu\",\"arm64\"]'").await;
    let with = |labels: &[&str]| Claimant { labels: labels.iter().map(|&label| label.into()).collect(), ..who("w") };
    for too_little in [&[][..], &["gpu"], &["arm64"], &["gp", "u", "arm64x"]] {
        assert!(world.claim(&with(too_little), LONG).await.unwrap().is_none(), "{too_little:?}");
        assert_eq!(world.next_due(&with(too_little)).await.unwrap(), None);
    }
    assert!(world.claim(&with(&["arm64", "fast", "gpu"]), LONG).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_claim_at_once_from_many_projects_get_each_task_once() {
    let world = world().await;
    for project in ["a", "b", "c", "d"] {
        world.flood(project, 15).await;
    }
    let workers = (0..8).map(|worker| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while store.task_counts().await.unwrap().queued > 0 {
                mine.extend(store.claim(&who(&format!("w{worker}")), LONG).await.unwrap());
            }
            mine
        })
    });
    let mut seen = HashMap::new();
    for leases in futures_util::future::join_all(workers).await {
        for lease in leases.unwrap() {
            *seen.entry(lease.task.id).or_insert(0) += 1;
        }
    }
    assert_eq!((seen.len(), seen.values().copied().max()), (60, Some(1)));
}

fn facts(id: &str) -> WorkerFacts {
    WorkerFacts {
        id: id.to_owned(),
        host: "host-1".to_owned(),
        engine: Some("engine-1".to_owned()),
        capacity: 8,
        labels: ["ssd".to_owned()].into(),
        version: "0.1.0".to_owned(),
        streams: None,
    }
}

#[tokio::test]
async fn a_worker_that_is_not_active_gets_nothing() {
    let world = world().await;
    world.ask_first("hello").await;
    world.register_worker(&facts("worker")).await.unwrap();
    for state in [WorkerState::Cordoned, WorkerState::Draining, WorkerState::Leaving] {
        world.set_worker_state("worker", state).await.unwrap();
        assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
        assert_eq!(world.next_due(&who("worker")).await.unwrap(), None);
        assert_eq!(world.beat_worker("worker").await.unwrap(), state, "and it hears why");
    }
    world.set_worker_state("worker", WorkerState::Active).await.unwrap();
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_some());
}

#[tokio::test]
async fn workers_are_known_by_what_they_said_and_forgotten_when_silent_and_idle() {
    let world = world().await;
    world.register_worker(&facts("worker")).await.unwrap();
    world.register_worker(&facts("idle")).await.unwrap();
    world.ask_first("hello").await;
    let lease = world.take().await;
    let workers = world.list_workers().await.unwrap();
    let known: Vec<_> = workers.iter().map(|w| (w.facts.clone(), w.state, w.running)).collect();
    assert_eq!(known, [(facts("idle"), WorkerState::Active, 0), (facts("worker"), WorkerState::Active, 1)]);
    assert_eq!(world.forget_workers(Duration::from_secs(60)).await.unwrap(), 0);
    world.spoil("UPDATE worker SET beat_at = 1").await;
    assert_eq!(world.forget_workers(Duration::from_secs(60)).await.unwrap(), 1, "one holds a task");
    assert_not_found(world.beat_worker("idle").await, "worker");
    assert_not_found(world.set_worker_state("idle", WorkerState::Active).await, "worker");
    // Killed and started again: what it held before is the queue's again at once.
    world.set_worker_state("worker", WorkerState::Draining).await.unwrap();
    world.register_worker(&facts("worker")).await.unwrap();
    assert_eq!(world.list_workers().await.unwrap()[0].state, WorkerState::Active);
    assert_eq!(world.rescue_worker("idle").await.unwrap(), 0);
    assert_eq!(world.rescue_worker("worker").await.unwrap(), 1);
    assert_stale(world.heartbeat(&lease, LONG).await);
    world.set_worker_state("worker", WorkerState::Cordoned).await.unwrap();
    world.register_worker(&facts("worker")).await.unwrap();
    assert_eq!(world.beat_worker("worker").await.unwrap(), WorkerState::Cordoned, "an operator's word outlives it");
}
