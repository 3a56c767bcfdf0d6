//! A release becomes live, or is known not to, in one step that nobody sees half of.

use shipway_model::{InstanceRole, Outcome, ReleaseState, ServiceState, TaskPayload, TaskState};
use shipway_store::StoreError;

use super::world::*;

async fn release_state(world: &World, id: shipway_model::ServiceId, number: u32) -> ReleaseState {
    world.find_release(id, number).await.unwrap().unwrap().state
}

#[tokio::test]
async fn the_newcomer_is_live_the_old_one_retires_and_its_container_drains() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let old = world.list_instances(Some(id)).await.unwrap()[0].clone();
    assert_eq!(old.role, InstanceRole::Live);
    let accepted = world.ask(id, deploy_of("http://127.0.0.1/second.sh")).await;
    let lease = world.take().await;
    let (release, new) = world.make_live(&lease).await;

    assert_eq!(release.number, 2);
    assert_eq!(world.service(id).await.state, ServiceState::Live { release: 2 });
    assert_eq!(release_state(&world, id, 1).await, ReleaseState::Retired);
    assert_eq!(release_state(&world, id, 2).await, ReleaseState::Live);
    assert_eq!(world.find_live_release(id).await.unwrap().unwrap().number, 2);
    let instances = world.list_instances(Some(id)).await.unwrap();
    let roles: Vec<_> = instances.iter().map(|instance| (instance.container, instance.role)).collect();
    assert_eq!(roles, [(old.container, InstanceRole::Draining), (new.container, InstanceRole::Live)]);
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Ended(done(Some(2))));
    let story = world.story(id).await;
    assert_eq!(
        story,
        [
            "deploy asked",
            "release 1 made",
            "release 1 live",
            "deploy done",
            "deploy asked",
            "release 2 made",
            "release 2 live",
            "deploy done"
        ]
    );
}

#[tokio::test]
async fn a_restart_swaps_the_container_and_keeps_the_release() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Restart).await;
    let version = world.service(id).await.version;
    let lease = world.take().await;
    let release = world.find_release(id, 1).await.unwrap().unwrap();
    let new = instance_of(&release, InstanceRole::Candidate);
    world.put_instance(&lease, &new).await.unwrap();
    world.publish(&lease, 1, new.container, &done(Some(1))).await.unwrap();
    assert_eq!(release_state(&world, id, 1).await, ReleaseState::Live);
    assert_eq!(world.service(id).await.version, version, "its row did not change");
    let routes = world.list_routes().await.unwrap();
    assert_eq!(routes[0].instance.as_ref().unwrap().container, new.container);
    assert_eq!(world.story(id).await.last().unwrap(), "restart done");
}

#[tokio::test]
async fn a_rollback_brings_a_retired_release_back() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask_first("hello").await;
    let lease = world.take().await;
    world.make_live(&lease).await;
    world.ask(id, TaskPayload::Rollback { release: 1 }).await;
    let lease = world.take().await;
    let release = world.find_release(id, 1).await.unwrap().unwrap();
    let instance = instance_of(&release, InstanceRole::Candidate);
    world.put_instance(&lease, &instance).await.unwrap();
    world.publish(&lease, 1, instance.container, &done(Some(1))).await.unwrap();
    assert_eq!(world.service(id).await.state, ServiceState::Live { release: 1 });
    assert_eq!(release_state(&world, id, 1).await, ReleaseState::Live);
    assert_eq!(release_state(&world, id, 2).await, ReleaseState::Retired);
}

#[tokio::test]
async fn the_first_release_that_fails_fails_the_service() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    let id = accepted.service.id;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    world.fail_release(&lease, release.number, &failure()).await.unwrap();
    let reason = "the probe saw nothing".to_owned();
    assert_eq!(release_state(&world, id, 1).await, ReleaseState::Failed { reason: reason.clone() });
    assert_eq!(world.service(id).await.state, ServiceState::Failed { reason });
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Ended(Outcome::Failed(failure())));
    assert_eq!(
        world.story(id).await,
        [
            "deploy asked",
            "release 1 made",
            "release 1 failed",
            "starting to failed",
            "deploy failed: release_not_ready"
        ]
    );
}

#[tokio::test]
async fn a_failure_that_is_known_already_is_not_told_twice() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let failed = ServiceState::Failed { reason: failure().detail };
    let version = world.set_service_state(&lease, failed, None).await.unwrap().version;
    world.fail_release(&lease, release.number, &failure()).await.unwrap();
    assert_eq!(world.service(id).await.version, version);
    assert_eq!(
        world.story(id).await,
        [
            "deploy asked",
            "release 1 made",
            "starting to failed",
            "release 1 failed",
            "deploy failed: release_not_ready"
        ]
    );

    world.ask_first("hello").await;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let other = shipway_model::task::Failure { detail: "another reason".to_owned(), ..failure() };
    world.fail_release(&lease, release.number, &other).await.unwrap();
    assert_eq!(world.service(id).await.state, ServiceState::Failed { reason: "another reason".to_owned() });
}

#[tokio::test]
async fn a_later_release_that_fails_leaves_the_live_one_alone() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask_first("hello").await;
    let before = world.service(id).await;
    let routes = world.list_routes().await.unwrap();
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    world.put_instance(&lease, &instance_of(&release, InstanceRole::Candidate)).await.unwrap();
    world.fail_release(&lease, 2, &failure()).await.unwrap();
    assert_eq!(world.service(id).await, before);
    assert_eq!(world.list_routes().await.unwrap(), routes);
    assert_eq!(release_state(&world, id, 1).await, ReleaseState::Live);
    assert!(matches!(release_state(&world, id, 2).await, ReleaseState::Failed { .. }));
}

#[tokio::test]
async fn a_rollback_that_fails_leaves_its_release_retired() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask_first("hello").await;
    let lease = world.take().await;
    world.make_live(&lease).await;
    world.ask(id, TaskPayload::Rollback { release: 1 }).await;
    let lease = world.take().await;
    world.fail_release(&lease, 1, &failure()).await.unwrap();
    assert_eq!(release_state(&world, id, 1).await, ReleaseState::Retired);
    assert_eq!(world.service(id).await.state, ServiceState::Live { release: 2 });
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_whole() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let other = world.live_service("other").await;
    let foreign = world.list_instances(Some(other)).await.unwrap()[0].clone();
    world.ask_first("hello").await;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let candidate = instance_of(&release, InstanceRole::Candidate);
    world.put_instance(&lease, &candidate).await.unwrap();
    let before = (world.service(id).await, world.story(id).await, world.list_instances(None).await.unwrap());

    let outcome = done(Some(2));
    assert_not_found(world.publish(&lease, 3, candidate.container, &outcome).await, "release");
    assert_not_found(world.publish(&lease, 2, new_container(), &outcome).await, "instance");
    assert_not_found(world.publish(&lease, 2, foreign.container, &outcome).await, "instance");
    assert_not_found(world.publish(&lease, 1, candidate.container, &outcome).await, "instance");
    assert_not_found(world.fail_release(&lease, 3, &failure()).await, "release");
    let after = (world.service(id).await, world.story(id).await, world.list_instances(None).await.unwrap());
    assert_eq!(after, before);

    world.fail_release(&lease, 2, &failure()).await.unwrap();
    world.ask(id, TaskPayload::Rollback { release: 2 }).await;
    let lease = world.take().await;
    assert_not_found(world.publish(&lease, 2, candidate.container, &outcome).await, "release");
}

#[tokio::test]
async fn a_release_whose_worker_was_lost_is_given_up_when_the_deploy_ends() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    world.add_release(&lease, &spec()).await.unwrap();
    world.rescue(true).await.unwrap();
    let lease = world.take().await;
    let (release, _) = world.make_live(&lease).await;
    assert_eq!(release.number, 2);
    assert!(matches!(release_state(&world, id, 1).await, ReleaseState::Failed { .. }));
    assert_eq!(
        world.story(id).await,
        ["deploy asked", "release 1 made", "release 2 made", "release 2 live", "release 1 failed", "deploy done"]
    );
}

#[tokio::test]
async fn a_stop_asked_for_during_a_deploy_is_still_wanted_after_it() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    world.ask(id, TaskPayload::Stop).await;
    world.make_live(&lease).await;
    let service = world.service(id).await;
    assert_eq!(service.state, ServiceState::Live { release: 1 });
    assert_eq!(service.wanted, shipway_model::Wanted::Stopped);
    assert_eq!(world.take().await.task.payload, TaskPayload::Stop);
}

#[tokio::test]
async fn a_release_is_read_back_as_it_was_made() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    assert_eq!(release.spec, spec());
    assert_eq!(release.state, ReleaseState::Starting);
    assert_eq!(world.find_release(id, 1).await.unwrap(), Some(release));
    assert_eq!(world.find_release(id, 2).await.unwrap(), None);
    assert_eq!(world.find_live_release(id).await.unwrap(), None);
}

#[tokio::test]
async fn releases_are_listed_newest_first_page_by_page() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    for _ in 0..5 {
        world.add_release(&lease, &spec()).await.unwrap();
    }
    let numbers = async |before, limit| {
        let page = world.list_releases(id, before, limit).await.unwrap();
        page.into_iter().map(|release| release.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 3).await, [5, 4, 3]);
    assert_eq!(numbers(Some(3), 3).await, [2, 1]);
    assert_eq!(numbers(Some(1), 3).await, [0; 0]);
}

#[tokio::test]
async fn a_stopped_service_knows_what_start_brings_back() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Stop).await;
    let lease = world.take().await;
    world.set_service_state(&lease, ServiceState::Stopped { release: Some(1) }, None).await.unwrap();
    world.finish(&lease, &done(None)).await.unwrap();
    assert_eq!(world.find_live_release(id).await.unwrap().unwrap().number, 1);
    world.ask(id, TaskPayload::Start).await;
    let lease = world.take().await;
    world.set_service_state(&lease, ServiceState::Starting, None).await.unwrap();
    world.fail_release(&lease, 1, &failure()).await.unwrap();
    assert!(matches!(world.service(id).await.state, ServiceState::Failed { .. }));
    assert_eq!(world.find_live_release(id).await.unwrap().unwrap().number, 1, "even when it failed to come back");
    world.ask(id, TaskPayload::Start).await;
    let lease = world.take().await;
    let illegal = world.set_service_state(&lease, ServiceState::Unhealthy { release: 1, reason: String::new() }, None);
    assert!(matches!(illegal.await, Err(StoreError::Illegal { .. })));
}
