//! A service's row: read by name, by id, by page; changed only along the arrows.

use shipway_model::{ServiceState, TaskPayload, TaskState, Wanted};
use shipway_store::StoreError;

use super::world::*;

fn states() -> [ServiceState; 5] {
    let reason = || "because".to_owned();
    [
        ServiceState::Starting,
        ServiceState::Live { release: 1 },
        ServiceState::Unhealthy { release: 1, reason: reason() },
        ServiceState::Stopped { release: Some(1) },
        ServiceState::Failed { reason: reason() },
    ]
}

#[tokio::test]
async fn every_arrow_of_the_state_machine_is_taken_and_no_other() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Repair).await;
    let lease = world.take().await;
    for from in states() {
        for to in states() {
            let word = from.word();
            world.spoil(format!("UPDATE service SET state = '{word}', release = 1, reason = 'because'")).await;
            let before = world.service(id).await;
            let result = world.set_service_state(&lease, to.clone(), None).await;
            if from.may_become(&to) {
                let after = result.unwrap();
                assert_eq!(after.state, to);
                assert_eq!(after.version, before.version + u64::from(from != to));
                assert_eq!(world.service(id).await, after);
            } else {
                assert!(matches!(result, Err(StoreError::Illegal { .. })), "{from:?} to {to:?}: {result:?}");
                assert_eq!(world.service(id).await, before);
            }
        }
    }
}

#[tokio::test]
async fn each_change_of_state_is_an_event_and_no_change_is_none() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Repair).await;
    let lease = world.take().await;
    let before = world.story(id).await.len();
    let unhealthy = ServiceState::Unhealthy { release: 1, reason: "it dies".to_owned() };
    for (state, wanted) in [
        (unhealthy.clone(), None),
        (unhealthy, None),
        (ServiceState::Live { release: 1 }, None),
        (ServiceState::Stopped { release: Some(1) }, Some(Wanted::Stopped)),
        (ServiceState::Stopped { release: Some(1) }, None),
        (ServiceState::Stopped { release: Some(1) }, Some(Wanted::Running)),
        (ServiceState::Starting, None),
        (ServiceState::Failed { reason: "no".to_owned() }, None),
    ] {
        world.set_service_state(&lease, state, wanted).await.unwrap();
    }
    let story = world.story(id).await;
    assert_eq!(
        story[before..],
        ["crash loop of 1", "unhealthy to live", "stopped", "stopped", "stopped to starting", "starting to failed"]
    );
    assert_eq!(world.service(id).await.wanted, Wanted::Running);
}

#[tokio::test]
async fn a_deleted_service_is_gone_and_its_history_is_not() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.request_repair(id, std::time::Duration::from_secs(60)).await.unwrap();
    let accepted = world.ask(id, TaskPayload::Delete).await;
    let lease = world.take().await;
    assert_eq!(lease.task.id, accepted.task);
    world.delete_service(&lease).await.unwrap();

    assert_eq!(world.find_service_by_id(id).await.unwrap(), None);
    assert_eq!(world.find_service(&default_project(), &name("hello")).await.unwrap(), None);
    assert_eq!(world.list_instances(None).await.unwrap(), []);
    assert_eq!(world.list_releases(id, None, 10).await.unwrap(), []);
    assert_eq!(world.list_routes().await.unwrap(), []);
    assert_eq!(world.task_counts().await.unwrap().queued, 0, "the waiting repair has nothing to do");
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Ended(done(None)));
    let story = world.story(id).await;
    assert_eq!(story[story.len() - 3..], ["delete asked", "deleted", "delete done"]);

    let again = world.ask_first("hello").await;
    assert!(again.created);
    assert_ne!(again.service.id, id);
    assert_eq!(world.list_releases(again.service.id, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_task_that_failed_leaves_no_service_starting_for_ever() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    world.finish(&lease, &shipway_model::Outcome::Failed(failure())).await.unwrap();
    let service = world.service(id).await;
    assert_eq!(service.state, ServiceState::Failed { reason: "the probe saw nothing".to_owned() });
    assert_eq!(service.version, 2);
}

#[tokio::test]
async fn services_are_listed_by_name_page_by_page() {
    let world = world().await;
    for of in ["delta", "alpha", "charlie", "bravo"] {
        world.ask_first(of).await;
    }
    let names = async |after: Option<&str>, limit| {
        let after = after.map(name);
        let page = world.list_services(&default_project(), after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|service| service.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 3).await, ["alpha", "bravo", "charlie"]);
    assert_eq!(names(Some("charlie"), 3).await, ["delta"]);
    assert_eq!(names(Some("b"), u32::MAX).await, ["bravo", "charlie", "delta"]);
    assert_eq!(names(None, 0).await, [""; 0]);
    assert_eq!(world.list_services(&"other".parse().unwrap(), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn all_services_can_be_walked_whatever_their_project() {
    let world = world().await;
    let mut expected = Vec::new();
    for of in ["a", "b", "c", "d", "e"] {
        let mut request = first_deploy(of);
        request.project = format!("project-{of}").parse().unwrap();
        expected.push(world.request(request).await.unwrap().service.id);
    }
    expected.sort();
    let mut walked = Vec::new();
    loop {
        let page = world.list_all_services(walked.last().copied(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        walked.extend(page.into_iter().map(|service| service.id));
    }
    assert_eq!(walked, expected);
}
