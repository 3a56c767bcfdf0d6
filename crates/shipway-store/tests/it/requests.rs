//! What is asked for is accepted whole or not at all.

use shipway_model::{ServiceId, ServiceState, TaskPayload, TaskState, Wanted};
use shipway_store::{Request, StoreError, Target};
use uuid::Uuid;

use super::world::*;

#[tokio::test]
async fn the_first_deploy_makes_the_service_with_the_id_given() {
    let world = world().await;
    let request = first_deploy("hello");
    let Target::NamedOrNew(_, id) = request.target else { unreachable!() };
    let payload = request.payload.clone();
    let accepted = world.request(request).await.unwrap();
    assert!(accepted.created);
    assert_eq!(accepted.service.id, id);
    assert_eq!(accepted.service.version, 1);
    assert_eq!(accepted.service.state, ServiceState::Starting);
    assert_eq!(accepted.service.wanted, Wanted::Running);
    assert_eq!(world.service(id).await, accepted.service);
    assert_eq!(world.find_service(&default_project(), &name("hello")).await.unwrap(), Some(accepted.service));
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    assert_eq!((task.subject.service(), task.payload, task.attempt), (Some(id), payload, 0));
    assert!(matches!(task.state, TaskState::Queued { .. }));
    assert_eq!(world.story(id).await, ["deploy asked"]);
}

#[tokio::test]
async fn the_second_deploy_keeps_the_service_and_its_id() {
    let world = world().await;
    let first = world.ask_first("hello").await;
    let second = world.ask_first("hello").await;
    assert!(!second.created);
    assert_eq!(second.service.id, first.service.id);
    assert_eq!(second.service.version, 2);
    assert_ne!(second.task, first.task);
}

#[tokio::test]
async fn one_name_in_two_projects_is_two_services() {
    let world = world().await;
    let first = world.ask_first("hello").await;
    let request = Request { project: "other".parse().unwrap(), ..first_deploy("hello") };
    let second = world.request(request).await.unwrap();
    assert!(second.created);
    assert_ne!(first.service.id, second.service.id);
}

#[tokio::test]
async fn what_is_asked_for_decides_what_is_wanted() {
    let world = world().await;
    let id = world.live_service("hello").await;
    for (payload, wanted) in [
        (TaskPayload::Stop, Wanted::Stopped),
        (TaskPayload::Start, Wanted::Running),
        (TaskPayload::Stop, Wanted::Stopped),
        (TaskPayload::Restart, Wanted::Running),
        (TaskPayload::Stop, Wanted::Stopped),
        (TaskPayload::Rollback { release: 1 }, Wanted::Running),
        (TaskPayload::Repair, Wanted::Running),
        (TaskPayload::Stop, Wanted::Stopped),
        (deploy_of("http://127.0.0.1/"), Wanted::Running),
        (TaskPayload::Delete, Wanted::Stopped),
    ] {
        let before = world.service(id).await;
        let accepted = world.ask(id, payload.clone()).await;
        assert_eq!(accepted.service.wanted, wanted, "{payload:?}");
        assert_eq!(accepted.service.version, before.version + 1, "{payload:?}");
        assert_eq!(accepted.service.state, before.state, "asking changes nothing yet");
    }
}

#[tokio::test]
async fn another_version_than_named_is_refused_and_nothing_happens() {
    let world = world().await;
    let first = world.ask_first("hello").await;
    let id = first.service.id;
    let stale = Request { if_version: Some(7), ..change(id, TaskPayload::Stop) };
    let refused = world.request(stale).await;
    assert!(matches!(refused, Err(StoreError::VersionMismatch { now: 1 })), "{refused:?}");
    assert_eq!(world.service(id).await, first.service);
    assert_eq!(world.story(id).await, ["deploy asked"]);

    let current = Request { if_version: Some(1), ..change(id, TaskPayload::Stop) };
    assert_eq!(world.request(current).await.unwrap().service.version, 2);
    let unborn = Request { if_version: Some(1), ..first_deploy("unborn") };
    let refused = world.request(unborn).await;
    assert!(matches!(refused, Err(StoreError::VersionMismatch { now: 0 })), "{refused:?}");
    assert_eq!(world.find_service(&default_project(), &name("unborn")).await.unwrap(), None);
}

#[tokio::test]
async fn services_of_others_and_services_that_are_not_are_not_found() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let foreign = Request { project: "other".parse().unwrap(), ..change(id, TaskPayload::Delete) };
    assert_not_found(world.request(foreign).await, "service");
    let nobody = ServiceId(Uuid::new_v4());
    assert_not_found(world.request(change(nobody, TaskPayload::Start)).await, "service");
    let unnamed = Request { payload: TaskPayload::Start, ..first_deploy("nobody") };
    assert_not_found(world.request(unnamed).await, "service");
    assert_eq!(world.find_service_by_id(nobody).await.unwrap(), None);
}

#[tokio::test]
async fn a_service_that_is_being_deleted_takes_no_more_changes() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Delete).await;
    for state in ["queued", "running"] {
        for request in [change(id, TaskPayload::Start), change(id, TaskPayload::Delete), first_deploy("hello")] {
            let refused = world.request(request).await;
            assert!(matches!(refused, Err(StoreError::Deleting)), "{state}: {refused:?}");
        }
        if state == "queued" {
            world.take().await;
        }
    }
}

#[tokio::test]
async fn a_service_has_room_for_a_hundred_waiting_changes() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    for _ in 1..100 {
        world.ask(id, TaskPayload::Restart).await;
    }
    let reason = unavailable(world.request(change(id, TaskPayload::Restart)).await);
    assert_eq!(reason, "100 changes of this service are waiting already");
    assert_eq!(world.service(id).await.version, 100);
    world.ask_first("another").await;
    let lease = world.take().await;
    world.finish(&lease, &done(None)).await.unwrap();
    world.ask(id, TaskPayload::Restart).await;
}
