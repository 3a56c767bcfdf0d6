//! Who gets which task when.

use std::time::Duration;

use shipway_model::{FailureCode, Outcome, ServiceId, TaskPayload, TaskState};
use shipway_store::{LeaseTerms, StoreError};
use uuid::Uuid;

use super::world::*;

#[tokio::test]
async fn nothing_to_do_is_nothing_claimed() {
    let world = world().await;
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
    assert_eq!(world.next_due(&who("worker")).await.unwrap(), None);
}

#[tokio::test]
async fn a_claim_is_a_lease_by_the_clock_of_the_database() {
    let world = world().await;
    world.ask_first("hello").await;
    let before = world.now().await.unwrap();
    let lease = world.take().await;
    let after = world.now().await.unwrap();
    assert!((before..=after).contains(&(lease.until - 600_000_000)), "{lease:?}");
    assert!((before..=after).contains(&(lease.deadline - 3_600_000_000)), "{lease:?}");
    assert_eq!(lease.task.attempt, 1);
    assert_eq!(lease.task.state, TaskState::Running);
    assert_eq!(world.find_task(lease.task.id).await.unwrap().unwrap(), lease.task);
}

#[tokio::test]
async fn no_lease_lasts_past_its_deadline() {
    let world = world().await;
    world.ask_first("hello").await;
    let terms = LeaseTerms { heartbeat: Duration::MAX, deadline: Duration::from_secs(5) };
    let lease = world.claim(&who("worker"), terms).await.unwrap().unwrap();
    assert_eq!(lease.until, lease.deadline);
    world.heartbeat(&lease, terms).await.unwrap();
    let until = world.number("SELECT lease_until FROM task").await;
    assert_eq!(until, lease.deadline);
}

#[tokio::test]
async fn a_heartbeat_prolongs_the_lease_and_nothing_else() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let short = LeaseTerms { heartbeat: Duration::from_millis(1), ..LONG };
    let lease = world.claim(&who("worker"), short).await.unwrap().unwrap();
    world.heartbeat(&lease, LONG).await.unwrap();
    wait_until("the first term is over", async || world.now().await.unwrap() > lease.until).await;
    assert_eq!(world.rescue(false).await.unwrap(), 0);
    assert_eq!(world.story(id).await, ["deploy asked"]);
    world.finish(&lease, &done(None)).await.unwrap();
}

#[tokio::test]
async fn tasks_of_different_services_run_at_once_in_the_order_of_asking() {
    let world = world().await;
    let asked = [world.ask_first("a").await.task, world.ask_first("b").await.task, world.ask_first("c").await.task];
    let claimed = [world.take().await.task.id, world.take().await.task.id, world.take().await.task.id];
    assert_eq!(claimed, asked);
}

#[tokio::test]
async fn the_larger_priority_goes_first_but_never_past_its_own_service() {
    let world = world().await;
    let first = world.ask_first("a").await;
    world.ask(first.service.id, TaskPayload::Stop).await;
    let other = world.ask_first("b").await;
    world
        .spoil("UPDATE task SET priority = 9 WHERE kind = 'stop'; UPDATE task SET priority = 5 WHERE number = 3;")
        .await;
    assert_eq!(world.take().await.task.id, other.task);
    assert_eq!(world.take().await.task.id, first.task);
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
}

#[tokio::test]
async fn tasks_of_one_service_run_one_after_another_in_the_order_of_asking() {
    let world = world().await;
    let first = world.ask_first("hello").await;
    let second = world.ask(first.service.id, TaskPayload::Stop).await;
    let third = world.ask(first.service.id, TaskPayload::Start).await;
    for task in [first.task, second.task, third.task] {
        let lease = world.take().await;
        assert_eq!(lease.task.id, task);
        assert!(world.claim(&who("another"), LONG).await.unwrap().is_none(), "one at a time");
        assert_eq!(world.next_due(&who("worker")).await.unwrap(), None, "and nobody is woken for the others");
        world.finish(&lease, &done(None)).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_given_back_is_not_overtaken_by_later_ones() {
    let world = world().await;
    let first = world.ask_first("hello").await;
    world.ask(first.service.id, TaskPayload::Stop).await;
    let lease = world.take().await;
    world.give_back(&lease, Duration::from_secs(3600), true).await.unwrap();
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
    let due = world.next_due(&who("worker")).await.unwrap().unwrap();
    assert!(due > world.now().await.unwrap() + 3_500_000_000, "nothing until the first one's time");
}

#[tokio::test]
async fn a_task_given_back_can_be_claimed_again_under_a_new_token() {
    let world = world().await;
    world.ask_first("hello").await;
    let first = world.take().await;
    world.give_back(&first, Duration::ZERO, true).await.unwrap();
    let second = world.take().await;
    assert_eq!(second.task.id, first.task.id);
    assert!(second.token > first.token);
    assert_eq!(second.task.attempt, 2);
    world.give_back(&second, Duration::ZERO, false).await.unwrap();
    assert_eq!(world.take().await.task.attempt, 2, "uncharged is uncounted");
}

#[tokio::test]
async fn tokens_grow_over_all_tasks_and_restarts() {
    let world = world().await;
    let mut last = 0;
    for round in 0..3 {
        world.ask_first(&format!("a{round}")).await;
        let store = world.again().await;
        let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
        assert!(lease.token > last);
        last = lease.token;
        store.finish(&lease, &done(None)).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_that_never_ends_is_given_up_after_ten_attempts() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    for attempt in 1..=10 {
        let lease = world.take().await;
        assert_eq!(lease.task.attempt, attempt);
        world.give_back(&lease, Duration::ZERO, true).await.unwrap();
    }
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    let TaskState::Ended(Outcome::Failed(failure)) = task.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::Internal);
    assert_eq!(failure.detail, "given up after 10 attempts: its worker gave it back every time");
    let story = world.story(accepted.service.id).await;
    assert_eq!(story, ["deploy asked", "starting to failed", "deploy failed: internal"]);
}

#[tokio::test]
async fn being_preempted_a_hundred_times_is_no_attempt() {
    let world = world().await;
    world.ask_first("hello").await;
    for _ in 0..100 {
        let lease = world.take().await;
        world.give_back(&lease, Duration::ZERO, false).await.unwrap();
    }
    assert_eq!(world.take().await.task.attempt, 1);
}

#[tokio::test]
async fn the_rescue_takes_only_what_has_run_out() {
    let world = world().await;
    world.ask_first("held").await;
    let held = world.take().await;
    world.ask_first("lost").await;
    let lost = world.take_and_lose().await;
    assert_eq!(world.rescue(false).await.unwrap(), 1);
    assert_eq!(world.take().await.task.id, lost.task.id);
    world.finish(&held, &done(None)).await.unwrap();
}

#[tokio::test]
async fn a_missed_heartbeat_is_enough_for_the_rescue() {
    let world = world().await;
    world.ask_first("hello").await;
    let terms = LeaseTerms { heartbeat: Duration::from_millis(1), ..LONG };
    let lease = world.claim(&who("worker"), terms).await.unwrap().unwrap();
    wait_until("the heartbeat is missed", async || world.rescue(false).await.unwrap() == 1).await;
    assert_stale(world.heartbeat(&lease, LONG).await);
}

#[tokio::test]
async fn at_the_start_everything_is_rescued_and_counted() {
    let world = world().await;
    world.ask_first("a").await;
    world.ask_first("b").await;
    world.take().await;
    world.take().await;
    assert_eq!(world.rescue(true).await.unwrap(), 2);
    assert_eq!(world.take().await.task.attempt, 2);
}

#[tokio::test]
async fn a_task_that_kills_its_worker_is_given_up_by_the_rescue() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    for _ in 0..10 {
        world.take().await;
        assert_eq!(world.rescue(true).await.unwrap(), 1);
        world.end_rests().await;
    }
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    assert!(matches!(task.state, TaskState::Ended(Outcome::Failed(_))), "{task:?}");
}

#[tokio::test]
async fn from_its_second_loss_on_a_task_rests() {
    let world = world().await;
    world.ask_first("hello").await;
    for _ in 0..2 {
        // The first loss costs no rest.
        world.take().await;
        assert_eq!(world.rescue(true).await.unwrap(), 1);
    }
    let rest = world.number("SELECT max(e.at) FROM event e WHERE subject LIKE 'task/%'").await;
    let rest = world.number("SELECT not_before FROM task").await - rest;
    assert!((0..=200_000).contains(&rest), "{rest}");
}

#[tokio::test]
async fn a_repair_that_waits_lets_others_pass() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.request_repair(id, Duration::from_secs(3600)).await.unwrap();
    let stop = world.ask(id, TaskPayload::Stop).await;
    let due = world.next_due(&who("worker")).await.unwrap().unwrap();
    assert!(due <= world.now().await.unwrap(), "the stop is due, whatever waits before it");
    let lease = world.take().await;
    assert_eq!(lease.task.id, stop.task);
    world.finish(&lease, &done(None)).await.unwrap();
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
    assert!(world.next_due(&who("worker")).await.unwrap().unwrap() > world.now().await.unwrap());
}

#[tokio::test]
async fn a_repair_whose_time_has_come_keeps_its_place() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.request_repair(id, Duration::ZERO).await.unwrap();
    world.ask(id, TaskPayload::Stop).await;
    assert_eq!(world.take().await.task.payload, TaskPayload::Repair);
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
}

#[tokio::test]
async fn repairs_coalesce_into_the_earliest() {
    let world = world().await;
    let id = world.live_service("hello").await;
    for seconds in [600, 60, 3600] {
        world.request_repair(id, Duration::from_secs(seconds)).await.unwrap();
    }
    assert_eq!(world.task_counts().await.unwrap().queued, 1);
    let due = world.next_due(&who("worker")).await.unwrap().unwrap() - world.now().await.unwrap();
    assert!((50_000_000..=60_000_000).contains(&due), "{due}");
    world.request_repair(id, Duration::ZERO).await.unwrap();
    let lease = world.take().await;
    world.request_repair(id, Duration::ZERO).await.unwrap();
    assert_eq!(world.task_counts().await.unwrap().queued, 1, "the running one may have looked too early");
    world.finish(&lease, &Outcome::Done { release: Some(1), changed: false }).await.unwrap();
    assert_eq!(world.take().await.task.payload, TaskPayload::Repair);
}

#[tokio::test]
async fn a_repair_is_for_services_that_are_there_to_stay() {
    let world = world().await;
    assert_not_found(world.request_repair(ServiceId(Uuid::new_v4()), Duration::ZERO).await, "service");
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Delete).await;
    world.request_repair(id, Duration::ZERO).await.unwrap();
    assert_eq!(world.task_counts().await.unwrap().queued, 1, "the delete alone");
}

#[tokio::test]
async fn a_repair_that_found_nothing_is_no_news() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let before = world.story(id).await;
    for changed in [false, true] {
        world.request_repair(id, Duration::ZERO).await.unwrap();
        let lease = world.take().await;
        world.finish(&lease, &Outcome::Done { release: Some(1), changed }).await.unwrap();
    }
    let story = world.story(id).await;
    assert_eq!(story[before.len()..], ["repair done"]);
}

#[tokio::test]
async fn no_write_under_a_lease_that_was_lost_changes_anything() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let live = world.list_instances(Some(id)).await.unwrap()[0].clone();
    world.ask(id, TaskPayload::Restart).await;
    let zombie = world.take().await;
    let release = world.add_release(&zombie, &spec()).await.unwrap();
    let candidate = instance_of(&release, shipway_model::InstanceRole::Candidate);
    world.put_instance(&zombie, &candidate).await.unwrap();
    assert_eq!(world.rescue(true).await.unwrap(), 1);
    let before = (world.service(id).await, world.story(id).await, world.list_instances(None).await.unwrap());

    let try_all = async || {
        let state = shipway_model::ServiceState::Stopped { release: Some(1) };
        let kind = shipway_model::EventKind::Stopped;
        let outcome = done(Some(2));
        assert_stale(world.set_service_state(&zombie, state, None).await);
        assert_stale(world.add_release(&zombie, &spec()).await);
        assert_stale(world.put_instance(&zombie, &candidate).await);
        assert_stale(world.remove_instance(&zombie, live.container).await);
        assert_stale(world.append_event(&zombie, &kind).await);
        assert_stale(world.publish(&zombie, 2, candidate.container, &outcome).await);
        assert_stale(world.fail_release(&zombie, 2, &failure()).await);
        assert_stale(world.heartbeat(&zombie, LONG).await);
        assert_stale(world.finish(&zombie, &outcome).await);
        assert_stale(world.give_back(&zombie, Duration::ZERO, true).await);
        assert_stale(world.delete_service(&zombie).await);
    };
    try_all().await;
    let rightful = world.take().await;
    assert_eq!(rightful.task.id, zombie.task.id);
    try_all().await;
    world.heartbeat(&rightful, LONG).await.unwrap();
    let after = (world.service(id).await, world.story(id).await, world.list_instances(None).await.unwrap());
    assert_eq!(after, before);
    world.finish(&rightful, &done(None)).await.unwrap();
    assert_stale(world.finish(&rightful, &done(None)).await);
    try_all().await;
    assert_eq!(world.stale_writes(), 34, "each was counted");
}

#[tokio::test]
async fn past_the_deadline_nothing_is_written_even_before_the_rescue() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    let lease = world.take_and_lose().await;
    assert_stale(world.add_release(&lease, &spec()).await);
    assert_stale(world.heartbeat(&lease, LONG).await);
    assert_stale(world.finish(&lease, &done(None)).await);
    let task = world.find_task(accepted.task).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Running);
    assert_eq!(world.stale_writes(), 3);
}

#[tokio::test]
async fn a_task_nobody_can_read_does_not_stand_in_the_way() {
    let world = world().await;
    let broken = world.ask_first("broken").await;
    let sound = world.ask_first("sound").await;
    world.spoil("UPDATE task SET payload = '{\"task\":\"from the future\"}' WHERE number = 1").await;
    let found = world.find_task(broken.task).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
    assert_eq!(world.take().await.task.id, sound.task);
    let story = world.story(broken.service.id).await;
    assert_eq!(story, ["deploy asked", "starting to failed", "deploy failed: internal"]);
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
}
