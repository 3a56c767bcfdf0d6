//! A task's history, and the tasks that were given up.

use std::time::Duration;

use shipway_model::{EventKind, Outcome, TaskId, TaskPayload, TaskState};
use shipway_store::LeaseTerms;

use super::world::*;

impl World {
    /// Each step with its token's place among the tokens, its attempt, and its note.
    async fn history(&self, task: TaskId) -> Vec<String> {
        let mut tokens = vec![0];
        let mut steps = Vec::new();
        for event in self.list_events(&format!("task/{task}"), 0, 1000).await.unwrap() {
            let EventKind::Task { change, token, attempt, note } = event.kind else { panic!() };
            if !tokens.contains(&token) {
                assert!(tokens.iter().all(|before| *before < token), "tokens grow");
                tokens.push(token);
            }
            let lease = tokens.iter().position(|known| *known == token).unwrap();
            let note = note.map(|note| format!(": {note}")).unwrap_or_default();
            steps.push(format!("{change} lease {lease} attempt {attempt}{note}"));
        }
        steps
    }
}

#[tokio::test]
async fn every_step_of_a_task_is_in_its_history() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    let lease = world.take().await;
    world.give_back(&lease, Duration::ZERO, false).await.unwrap();
    world.take_and_lose().await;
    world.rescue(false).await.unwrap();
    let terms = LeaseTerms { heartbeat: Duration::from_millis(1), ..LONG };
    world.claim(&who("silent"), terms).await.unwrap().unwrap();
    wait_until("it is missed", async || world.rescue(false).await.unwrap() == 1).await;
    world.end_rests().await;
    let lease = world.take().await;
    assert_stale(world.finish(&shipway_store::Lease { token: 1, ..lease.clone() }, &done(None)).await);
    world.finish(&lease, &done(None)).await.unwrap();
    assert_eq!(
        world.history(task).await,
        [
            "queued lease 0 attempt 0",
            "claimed lease 1 attempt 1: worker",
            "given_back lease 1 attempt 0: its worker gave it back",
            "claimed lease 2 attempt 1: slow",
            "given_back lease 2 attempt 1: it took longer than allowed",
            "claimed lease 3 attempt 2: silent",
            "given_back lease 3 attempt 2: its worker was lost",
            "claimed lease 4 attempt 3: worker",
            "done lease 4 attempt 3",
        ]
    );
    assert_eq!(world.number("SELECT released FROM task").await, 1, "given back and not charged: once");
}

#[tokio::test]
async fn what_a_deleted_service_left_in_the_queue_ends_with_it() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Delete).await;
    let lease = world.take().await;
    world.spoil("UPDATE task SET kind = 'repair' WHERE state = 'running'").await;
    world.request_repair(id, Duration::ZERO).await.unwrap();
    let repair: TaskId = world.texts("SELECT id FROM task ORDER BY number DESC").await[0].parse().unwrap();
    world.delete_service(&lease).await.unwrap();
    assert_eq!(world.history(repair).await, ["queued lease 0 attempt 0", "done lease 0 attempt 0"]);
}

#[tokio::test]
async fn a_task_given_up_is_kept_for_an_operator_who_may_have_it_done_anew() {
    let world = world().await;
    let task = world.ask_first("poison").await.task;
    assert_eq!(world.list_given_up(0, 10).await.unwrap(), []);
    assert_not_found(world.requeue(task, "operator").await, "task");
    for _ in 0..10 {
        world.take().await;
        world.rescue(true).await.unwrap();
        world.end_rests().await;
    }
    let given_up = world.list_given_up(0, 10).await.unwrap().remove(0);
    assert_eq!((given_up.id, given_up.attempts, given_up.kind.as_str()), (task, 10, "deploy"));
    assert!(given_up.outcome.contains("given up after 10 attempts: its worker was lost"), "{given_up:?}");
    assert_eq!(world.list_given_up(given_up.number, 10).await.unwrap(), []);

    let anew = world.requeue(task, "operator").await.unwrap();
    assert_eq!(world.list_given_up(0, 10).await.unwrap(), []);
    assert_not_found(world.requeue(task, "operator").await, "task");
    let lease = world.take().await;
    assert_eq!((lease.task.id, lease.task.attempt), (anew, 1));
    assert_eq!(lease.task.payload, deploy_of("http://127.0.0.1/hello.sh"));
    world.make_live(&lease).await;
    let TaskState::Ended(Outcome::Failed(_)) = world.find_task(task).await.unwrap().unwrap().state else { panic!() };
}

#[tokio::test]
async fn a_task_of_a_later_version_waits_for_one_that_can_read_it() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    world.spoil("UPDATE task SET payload = '{\"task\":\"from the future\"}'").await;
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
    let given_up = world.list_given_up(0, 10).await.unwrap();
    assert_eq!((given_up[0].id, given_up.len()), (task, 1));
    world.requeue(task, "operator").await.unwrap();
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none(), "still not by us");
    assert_eq!(world.list_given_up(0, 10).await.unwrap().len(), 1);
    world.spoil("DELETE FROM service").await;
    let given_up = world.list_given_up(0, 10).await.unwrap();
    assert_not_found(world.requeue(given_up[0].id, "operator").await, "service");
    assert_eq!(world.list_given_up(0, 10).await.unwrap().len(), 1, "refused, it stays");
}
