//! Containers as the store remembers them, and the routes that lead to them.

use shipway_model::{InstanceRole, ServiceState, TaskPayload};
use shipway_store::StoreError;

use super::world::*;

#[tokio::test]
async fn an_instance_is_read_back_as_it_was_put_and_put_again() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let mut instance = instance_of(&release, InstanceRole::Candidate);
    (instance.endpoint, instance.started_at, instance.handle) = (None, None, None);
    world.put_instance(&lease, &instance).await.unwrap();
    assert_eq!(world.list_instances(Some(id)).await.unwrap(), [instance.clone()]);
    let known = instance_of(&release, InstanceRole::Candidate);
    instance = shipway_model::Instance { container: instance.container, failures: 3, ..known };
    world.put_instance(&lease, &instance).await.unwrap();
    assert_eq!(world.list_instances(None).await.unwrap(), [instance.clone()]);
    world.remove_instance(&lease, instance.container).await.unwrap();
    world.remove_instance(&lease, instance.container).await.unwrap();
    assert_eq!(world.list_instances(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_lease_reaches_the_instances_of_its_own_service_only() {
    let world = world().await;
    let other = world.live_service("other").await;
    let foreign = world.list_instances(Some(other)).await.unwrap()[0].clone();
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    assert_not_found(world.put_instance(&lease, &foreign).await, "service");
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let stolen = shipway_model::Instance { service: id, ..foreign.clone() };
    assert_not_found(world.put_instance(&lease, &stolen).await, "instance");
    let mut early = instance_of(&release, InstanceRole::Candidate);
    early.release = 9;
    assert_not_found(world.put_instance(&lease, &early).await, "release");
    world.remove_instance(&lease, foreign.container).await.unwrap();
    assert_eq!(world.list_instances(None).await.unwrap(), [foreign]);
}

#[tokio::test]
async fn a_service_has_one_live_instance_at_most() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let old = world.list_instances(Some(id)).await.unwrap()[0].clone();
    let release = world.find_release(id, 1).await.unwrap().unwrap();
    world.request_repair(id, std::time::Duration::ZERO).await.unwrap();
    let lease = world.take().await;
    let new = instance_of(&release, InstanceRole::Live);
    world.put_instance(&lease, &new).await.unwrap();
    let instances = world.list_instances(Some(id)).await.unwrap();
    let role = |container| instances.iter().find(|i| i.container == container).unwrap().role;
    assert_eq!(role(old.container), InstanceRole::Draining);
    assert_eq!(role(new.container), InstanceRole::Live);
    world.put_instance(&lease, &new).await.unwrap();
    assert_eq!(world.list_routes().await.unwrap()[0].instance, Some(new));
}

#[tokio::test]
async fn every_service_has_a_route_and_live_ones_lead_somewhere() {
    let world = world().await;
    let starting = world.ask_first("starting").await.service.id;
    world.take().await;
    let live = world.live_service("live").await;
    let stopped = world.live_service("stopped").await;
    world.ask(stopped, TaskPayload::Stop).await;
    let lease = world.take().await;
    let state = ServiceState::Stopped { release: Some(1) };
    world.set_service_state(&lease, state.clone(), None).await.unwrap();
    let container = world.list_instances(Some(stopped)).await.unwrap()[0].container;
    world.remove_instance(&lease, container).await.unwrap();

    let routes = world.list_routes().await.unwrap();
    let ids: Vec<_> = routes.iter().map(|route| route.service).collect();
    let mut sorted = vec![starting, live, stopped];
    sorted.sort();
    assert_eq!(ids, sorted);
    let route = |id| routes.iter().find(|route| route.service == id).unwrap();
    assert_eq!((route(starting).state.clone(), route(starting).instance.is_some()), (ServiceState::Starting, false));
    assert_eq!((route(stopped).state.clone(), route(stopped).instance.is_some()), (state, false));
    let instance = route(live).instance.clone().unwrap();
    assert_eq!(world.list_instances(Some(live)).await.unwrap(), [instance]);
    assert_eq!(route(live).name, name("live"));
}

#[tokio::test]
async fn one_bad_row_takes_no_other_service_off_the_net() {
    let world = world().await;
    let good = world.live_service("good").await;
    let bad = world.live_service("bad").await;
    let worse = world.live_service("worse").await;
    world
        .spoil(
            "UPDATE instance SET endpoint = 'nowhere' WHERE service = (SELECT id FROM service WHERE name = 'bad');
             UPDATE service SET state = 'asleep' WHERE name = 'worse'",
        )
        .await;
    let ids: Vec<_> = world.list_routes().await.unwrap().iter().map(|route| route.service).collect();
    assert_eq!(ids, [good]);
    for unreadable in [
        world.list_instances(None).await.map(drop),
        world.list_instances(Some(bad)).await.map(drop),
        world.find_service_by_id(worse).await.map(drop),
        world.list_services(&default_project(), None, 10).await.map(drop),
    ] {
        assert!(matches!(unreadable, Err(StoreError::Corrupt(_))), "{unreadable:?}");
    }
}
