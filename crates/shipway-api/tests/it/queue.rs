//! What an operator sees of the queue, and does to it.

use std::time::Duration;

use http::Method;
use serde_json::json;
use shipway_api_types::{TaskState, WorkerState};
use shipway_client::TaskQuery;
use shipway_store::{Claimant, LeaseTerms, WorkerFacts};

use crate::world::{World, ask, json, outcome, put};

const LONG: LeaseTerms = LeaseTerms { heartbeat: Duration::from_secs(600), deadline: Duration::from_secs(3600) };

fn facts(id: &str) -> WorkerFacts {
    WorkerFacts {
        id: id.to_owned(),
        host: "host-1".to_owned(),
        engine: None,
        capacity: 8,
        labels: ["ssd".to_owned()].into(),
        version: "0.1.0".to_owned(),
        streams: None,
    }
}

/// A world whose own worker gets nothing, with two tasks in its queue.
async fn at_rest() -> World {
    let world = World::start().await;
    world.store.register_worker(&facts("world")).await.unwrap();
    world.root().cordon_worker("world").await.unwrap();
    let body = r#"{"url":"https://example.com/hello.sh"}"#;
    for name in ["first", "second"] {
        assert_eq!(outcome(&put(&world.root(), &format!("/v1/services/{name}?wait=0"), body).await), "202");
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_with_what_they_wait_for_and_read_with_their_history() {
    let world = World::start().await;
    let root = world.root();
    world.deploy("hello").await;
    world.deploy("other").await;
    let page = root.tasks(&TaskQuery::default(), 1, None).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let rest = root.tasks(&TaskQuery::default(), 100, page.next.as_deref()).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    let of_hello = TaskQuery { service: Some("hello".to_owned()), ..TaskQuery::default() };
    let task = root.tasks(&of_hello, 10, None).await.unwrap().items.remove(0);
    assert_eq!((task.state, task.kind.as_str(), task.attempts), (TaskState::Done, "deploy", 1));
    assert_eq!((task.service_name.as_deref(), task.actor.as_str()), (Some("hello"), "local"));
    assert!(task.waiting.is_empty() && task.ended_at.is_some() && task.due_at.is_none());

    let detail = root.task(&task.id).await.unwrap();
    let steps: Vec<&str> = detail.history.iter().map(|step| step.change.as_str()).collect();
    assert_eq!((detail.task, steps), (task, vec!["queued", "claimed", "done"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_task_says_why_it_waits() {
    let world = at_rest().await;
    let queued = TaskQuery { state: Some(TaskState::Queued), ..TaskQuery::default() };
    let why = async || {
        let tasks = world.root().tasks(&queued, 100, None).await.unwrap().items;
        let last = tasks.last().unwrap();
        assert!(last.due_at.is_some());
        last.waiting.iter().map(|waiting| waiting.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(why().await, ["unavailable"]);
    world.store.register_worker(&facts("w1")).await.unwrap();
    assert_eq!(why().await, [""; 0]);
    world.root().cordon_worker("w1").await.unwrap();
    assert_eq!(why().await, ["unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_up_task_is_done_anew_once() {
    let world = at_rest().await;
    let root = world.root();
    let any = TaskQuery { state: Some(TaskState::Queued), ..TaskQuery::default() };
    let oldest = root.tasks(&any, 100, None).await.unwrap().items.pop().unwrap();
    let refused = ask(&root, Method::POST, &format!("/v1/tasks/{}/requeue", oldest.id), &[], "").await;
    assert_eq!(outcome(&refused), "409 conflict");
    for _ in 0..10 {
        let lease = world.store.claim(&Claimant::named("poisoned"), LONG).await.unwrap().unwrap();
        assert_eq!(lease.task.id.to_string(), oldest.id);
        world.store.give_back(&lease, Duration::ZERO, true).await.unwrap();
    }
    let given_up = root.task(&oldest.id).await.unwrap().task;
    assert_eq!((given_up.state, given_up.attempts), (TaskState::GivenUp, 10));
    assert!(given_up.failure.unwrap().detail.contains("given up after 10 attempts"));
    let anew = root.requeue_task(&oldest.id).await.unwrap();
    assert_eq!((anew.state, anew.attempts, anew.service), (TaskState::Queued, 0, oldest.service));
    let again = ask(&root, Method::POST, &format!("/v1/tasks/{}/requeue", oldest.id), &[], "").await;
    assert_eq!(outcome(&again), "409 conflict");
    assert_eq!(root.task(&oldest.id).await.unwrap().task.state, TaskState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_cordoned_drained_and_let_in_again() {
    let world = World::start().await;
    let root = world.root();
    assert_eq!(root.workers().await.unwrap(), []);
    world.store.register_worker(&facts("w/1 é")).await.unwrap();
    let worker = root.workers().await.unwrap().remove(0);
    assert_eq!((worker.state, worker.host.as_str(), worker.capacity), (WorkerState::Active, "host-1", 8));
    assert!(!worker.silent && worker.labels == ["ssd"]);
    assert_eq!(root.drain_worker("w/1 é").await.unwrap().state, WorkerState::Draining);
    assert_eq!(root.cordon_worker("w/1 é").await.unwrap().state, WorkerState::Cordoned);
    assert_eq!(root.uncordon_worker("w/1 é").await.unwrap().state, WorkerState::Active);
    let missing = ask(&root, Method::POST, "/v1/workers/nobody/drain", &[], "").await;
    assert_eq!(outcome(&missing), "404 not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_sees_its_projects_tasks_and_only_the_platforms_own_sees_workers() {
    let world = World::start().await;
    world.deploy("hello").await;
    let theirs = world.client(Some(&world.token("admin", "theirs").await));
    let ours = world.client(Some(&world.token("admin", "default").await));
    let task = ours.tasks(&TaskQuery::default(), 10, None).await.unwrap().items.remove(0);
    assert!(theirs.tasks(&TaskQuery::default(), 10, None).await.unwrap().items.is_empty());
    let of = TaskQuery { service: Some(task.service.clone()), ..TaskQuery::default() };
    assert!(theirs.tasks(&of, 10, None).await.unwrap().items.is_empty());
    for (method, path) in [(Method::GET, ""), (Method::POST, "/requeue")] {
        let answer = ask(&theirs, method, &format!("/v1/tasks/{}{path}", task.id), &[], "").await;
        assert_eq!(outcome(&answer), "404 not_found");
    }
    assert_eq!(outcome(&ask(&theirs, Method::GET, "/v1/workers", &[], "").await), "403 forbidden");
    assert_eq!(outcome(&ask(&theirs, Method::POST, "/v1/workers/w1/drain", &[], "").await), "403 forbidden");
    assert_eq!(outcome(&ask(&ours, Method::GET, "/v1/workers", &[], "").await), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused_by_name() {
    let world = World::start().await;
    for (path, expected) in [
        ("/v1/tasks?state=lost", "400 invalid_parameter"),
        ("/v1/tasks?kind=dance", "400 invalid_parameter"),
        ("/v1/tasks?limit=0", "400 invalid_parameter"),
        ("/v1/tasks?cursor=%00", "400 invalid_parameter"),
        ("/v1/tasks?service=nobody", "404 not_found"),
        ("/v1/tasks?service=3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb", "200"),
        ("/v1/tasks?worker=%27%3B--", "200"),
        ("/v1/tasks/hello", "404 not_found"),
        ("/v1/tasks/3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb", "404 not_found"),
    ] {
        assert_eq!(outcome(&ask(&world.root(), Method::GET, path, &[], "").await), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_into_forgotten_events_is_answered_clearly() {
    let world = World::start().await;
    let id = world.deploy("hello").await.id;
    let root = world.root();
    let first = root.events("hello", None).await.unwrap();
    let page = ask(&root, Method::GET, "/v1/services/hello/events?limit=1", &[], "").await;
    let cursor = json(&page)["next"].as_str().unwrap().to_owned();
    let path = format!("/v1/services/hello/events?cursor={cursor}");
    assert_eq!(outcome(&ask(&root, Method::GET, &path, &[], "").await), "200");

    let forgotten = world.store.forget_events(&format!("service/{id}"), 2, 100).await.unwrap();
    assert_eq!(forgotten, 2);
    let gone = ask(&root, Method::GET, &path, &[], "").await;
    assert_eq!(outcome(&gone), "410 events_forgotten");
    assert_eq!(json(&gone)["detail"], json!("events 2 to 2 are no longer kept"));
    let resumed = [("accept", "text/event-stream"), ("last-event-id", cursor.as_str())];
    let stream = ask(&root, Method::GET, "/v1/services/hello/events", &resumed, "").await;
    assert_eq!(outcome(&stream), "410 events_forgotten", "an EventSource stops at that");
    let left = root.events("hello", None).await.unwrap();
    assert_eq!(left.items, first.items[2..], "without a cursor it begins with what is left");
    let mut follow = root.follow_events("hello", None).await.unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().seq, 3);
}
