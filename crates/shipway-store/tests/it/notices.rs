//! Notices wake; waiting ends when the task does.

use std::time::Duration;

use shipway_model::{ServiceState, TaskId, TaskPayload};
use shipway_store::Notice;
use uuid::Uuid;

use super::world::*;

/// Runs `work` and returns which numbers grew.
async fn grew(world: &World, work: impl Future<Output = ()>) -> [bool; 4] {
    let notices = world.notices();
    let before = *notices.borrow();
    work.await;
    let after = *notices.borrow();
    let pick = |notice: Notice| [notice.tasks, notice.ended, notice.services, notice.events];
    std::array::from_fn(|index| pick(after)[index] > pick(before)[index])
}

#[tokio::test]
async fn each_change_wakes_those_it_concerns() {
    let world = world().await;
    let (yes, no) = (true, false);
    let mut id = None;
    let asked = grew(&world, async { id = Some(world.ask_first("hello").await.service.id) }).await;
    assert_eq!(asked, [yes, no, yes, yes]);
    let id = id.unwrap();
    let mut lease = None;
    assert_eq!(grew(&world, async { lease = Some(world.take().await) }).await, [no, no, no, no]);
    let lease = lease.unwrap();
    assert_eq!(grew(&world, async { world.heartbeat(&lease, LONG).await.unwrap() }).await, [no, no, no, no]);
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let instance = instance_of(&release, shipway_model::InstanceRole::Candidate);
    let put = async { world.put_instance(&lease, &instance).await.unwrap() };
    assert_eq!(grew(&world, put).await, [no, no, no, no], "no route leads to a candidate");
    let publish = async { world.publish(&lease, 1, instance.container, &done(Some(1))).await.unwrap() };
    assert_eq!(grew(&world, publish).await, [yes, yes, yes, yes]);

    world.ask(id, TaskPayload::Stop).await;
    let lease = world.take().await;
    let stopped = ServiceState::Stopped { release: Some(1) };
    let stop = async { drop(world.set_service_state(&lease, stopped.clone(), None).await.unwrap()) };
    assert_eq!(grew(&world, stop).await, [no, no, yes, yes]);
    let again = async { drop(world.set_service_state(&lease, stopped.clone(), None).await.unwrap()) };
    assert_eq!(grew(&world, again).await, [no, no, no, no]);
    let remove = async { world.remove_instance(&lease, instance.container).await.unwrap() };
    assert_eq!(grew(&world, remove).await, [no, no, yes, no]);
    let back = async { world.give_back(&lease, Duration::ZERO, false).await.unwrap() };
    assert_eq!(grew(&world, back).await, [yes, no, no, no]);
    let late = async { assert_stale(world.finish(&lease, &done(None)).await) };
    assert_eq!(grew(&world, late).await, [no, no, no, no], "what changed nothing wakes nobody");
    assert_eq!(grew(&world, async { assert_eq!(world.rescue(true).await.unwrap(), 0) }).await, [no, no, no, no]);
    let repair = async { world.request_repair(id, Duration::ZERO).await.unwrap() };
    assert_eq!(grew(&world, repair).await, [yes, no, no, no]);
    let repair = async { world.request_repair(id, Duration::ZERO).await.unwrap() };
    assert_eq!(grew(&world, repair).await, [no, no, no, no]);
}

#[tokio::test]
async fn what_a_notice_tells_of_can_be_read() {
    let world = world().await;
    let store = world.store.clone();
    let mut notices = store.notices();
    let before = notices.borrow().services;
    let watcher = tokio::spawn(async move {
        for round in 1..=50_usize {
            notices.wait_for(|notice| notice.services >= before + round as u64).await.unwrap();
            let services = store.list_services(&default_project(), None, 100).await.unwrap();
            assert!(services.len() >= round, "told of {round}, found {}", services.len());
        }
    });
    for round in 0..50 {
        world.ask_first(&format!("service-{round}")).await;
    }
    watcher.await.unwrap();
}

#[tokio::test]
async fn waiting_ends_with_the_task_and_at_once_when_it_has_ended() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move { store.wait_task(task, LIMIT).await.unwrap() })
        })
        .collect();
    let lease = world.take().await;
    world.make_live(&lease).await;
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), Some(done(Some(1))));
    }
    assert_eq!(world.wait_task(task, LIMIT).await.unwrap(), Some(done(Some(1))));
}

#[tokio::test]
async fn waiting_ends_when_the_limit_does() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    assert_eq!(world.wait_task(task, Duration::from_millis(20)).await.unwrap(), None);
    let nobody = TaskId(Uuid::new_v4());
    assert_not_found(world.wait_task(nobody, LIMIT).await, "task");
}

#[tokio::test]
async fn a_lost_notice_costs_a_second_and_no_more() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    let lease = world.take().await;
    // Another store on the same file: its notices do not reach the first one.
    let other = world.again().await;
    let (outcome, ()) = tokio::join!(world.wait_task(task, LIMIT), async {
        other.finish(&lease, &done(None)).await.unwrap();
    });
    assert_eq!(outcome.unwrap(), Some(done(None)));
}

#[tokio::test]
async fn the_futures_of_the_store_may_move_between_threads() {
    fn movable<T: Send>(future: T) -> T {
        future
    }
    let world = world().await;
    let accepted = movable(world.request(first_deploy("hello"))).await.unwrap();
    let lease = movable(world.claim(&who("worker"), LONG)).await.unwrap().unwrap();
    movable(world.heartbeat(&lease, LONG)).await.unwrap();
    movable(world.set_service_state(&lease, ServiceState::Starting, None)).await.unwrap();
    movable(world.add_release(&lease, &spec())).await.unwrap();
    movable(world.give_back(&lease, Duration::ZERO, true)).await.unwrap();
    movable(world.wait_task(accepted.task, Duration::ZERO)).await.unwrap();
    movable(world.use_token([0; 32])).await.unwrap();
    movable(world.list_routes()).await.unwrap();
    movable(world.rescue(true)).await.unwrap();
}
