//! What an operator sees of the queue is what the claim goes by.

use std::collections::BTreeSet;
use std::time::Duration;

use shipway_model::{TaskId, TaskPayload, Waiting};
use shipway_store::{Claimant, QueuePage, Request, Stage, TaskFilter, TaskRecord, WaitTerms, WorkerFacts, WorkerState};

use super::world::*;

const TERMS: WaitTerms = WaitTerms { project_max: None, silent_after: Duration::from_secs(600) };

fn facts(id: &str, engine: Option<&str>, labels: &[&str]) -> WorkerFacts {
    WorkerFacts {
        id: id.to_owned(),
        host: "host".to_owned(),
        engine: engine.map(str::to_owned),
        capacity: 100,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        version: "0".to_owned(),
        streams: None,
    }
}

impl World {
    async fn queue(&self, filter: TaskFilter) -> QueuePage {
        self.list_tasks(&filter, None, 100).await.unwrap()
    }

    async fn one(&self, id: TaskId) -> (QueuePage, TaskRecord) {
        let page = self.queue(TaskFilter { id: Some(id), ..TaskFilter::default() }).await;
        let task = page.tasks.first().cloned().expect("it is listed");
        (page, task)
    }

    async fn why(&self, id: TaskId) -> Vec<Waiting> {
        let (page, task) = self.one(id).await;
        page.why(&task, TERMS)
    }
}

#[tokio::test]
async fn tasks_are_listed_by_every_filter_newest_first_page_by_page() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let queued = world.ask(id, TaskPayload::Restart).await.task;
    let other = world.ask_first("other").await;
    let lease = world.claim(&who("second"), LONG).await.unwrap().unwrap();
    assert_eq!(lease.task.id, queued);
    let all = TaskFilter::default;
    let kinds = async |filter| {
        let page = world.queue(filter).await;
        page.tasks.iter().map(|task| format!("{} {}", task.kind, task.stage.word())).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(kinds(all()).await, "deploy queued, restart running, deploy done");
    assert_eq!(kinds(TaskFilter { stage: Some(Stage::Running), ..all() }).await, "restart running");
    assert_eq!(kinds(TaskFilter { service: Some(id), ..all() }).await, "restart running, deploy done");
    assert_eq!(kinds(TaskFilter { kind: Some("deploy".into()), ..all() }).await, "deploy queued, deploy done");
    assert_eq!(kinds(TaskFilter { worker: Some("second".into()), ..all() }).await, "restart running");
    assert_eq!(kinds(TaskFilter { project: Some("nobody".parse().unwrap()), ..all() }).await, "");
    let both = TaskFilter { kind: Some("deploy".into()), stage: Some(Stage::Done), ..all() };
    assert_eq!(kinds(both).await, "deploy done");

    let first = world.list_tasks(&all(), None, 1).await.unwrap().tasks.remove(0);
    let rest = world.list_tasks(&all(), Some(first.number), 100).await.unwrap().tasks;
    assert_eq!((first.id, rest.len()), (other.task, 2));
    let (page, task) = world.one(queued).await;
    assert_eq!((task.service.as_deref(), task.worker.as_deref(), task.attempts), (Some("hello"), Some("second"), 1));
    assert!(task.lease_until.is_some_and(|until| until > page.now) && task.outcome.is_none());
    assert_eq!(page.running.get("default"), Some(&1));
}

#[tokio::test]
async fn one_that_cannot_be_read_or_was_given_up_is_shown_all_the_same() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    world.spoil("UPDATE task SET payload = '{}', kind = 'from the future'").await;
    assert_eq!(world.claim(&who("worker"), LONG).await.unwrap().map(|lease| lease.task.id), None);
    let (_, shown) = world.one(task).await;
    assert_eq!((shown.stage, shown.kind.as_str()), (Stage::GivenUp, "from the future"));
    assert!(shown.outcome.is_some() && shown.ended_at.is_some());
    let filter = |stage| TaskFilter { stage: Some(stage), ..TaskFilter::default() };
    assert_eq!(world.queue(filter(Stage::GivenUp)).await.tasks.len(), 1);
    assert_eq!(world.queue(filter(Stage::Failed)).await.tasks.len(), 0);
    world.spoil("UPDATE task SET outcome = 'nonsense', given_up_at = NULL").await;
    let (_, shown) = world.one(task).await;
    assert_eq!((shown.stage, shown.outcome), (Stage::Failed, None));
}

#[tokio::test]
async fn it_is_told_what_a_task_waits_for() {
    let world = world().await;
    let deploy = world.ask_first("hello").await;
    assert_eq!(world.why(deploy.task).await, [Waiting::NoWorkers]);
    world.register_worker(&facts("w1", Some("e1"), &[])).await.unwrap();
    assert_eq!(world.why(deploy.task).await, []);
    let restart = world.ask(deploy.service.id, TaskPayload::Restart).await.task;
    let [Waiting::Behind(ahead)] = &world.why(restart).await[..] else { panic!() };
    assert_eq!((ahead.task, ahead.running, ahead.kind.as_str()), (deploy.task, false, "deploy"));
    let taken = world.claim(&Claimant { engine: Some("e1".into()), ..who("w1") }, LONG).await.unwrap();
    let lease = taken.unwrap();
    let [Waiting::Behind(ahead)] = &world.why(restart).await[..] else { panic!() };
    assert_eq!((ahead.task, ahead.running), (deploy.task, true));
    world.make_live(&lease).await;
    assert_eq!(world.why(deploy.task).await, [], "it is over");
    assert_eq!(world.why(restart).await, []);
    // The service belongs to e1 from here on.
    world.set_worker_state("w1", WorkerState::Cordoned).await.unwrap();
    world.register_worker(&facts("w2", Some("e2"), &[])).await.unwrap();
    let [Waiting::Unavailable { engine, workers }] = &world.why(restart).await[..] else { panic!() };
    assert_eq!((engine.as_deref(), workers.len(), workers[0].why.as_str()), (Some("e1"), 1, "cordoned"));
    world.spoil("DELETE FROM worker WHERE id = 'w1'").await;
    assert_eq!(world.why(restart).await, [Waiting::NoEngine { engine: "e1".to_owned() }]);
    world.spoil("UPDATE task SET not_before = not_before + 3600000000").await;
    assert!(matches!(world.why(restart).await[0], Waiting::NotDue { .. }));
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.throw(all.len() as u64)).unwrap()]
    }
}

const LABELS: [&[&str]; 3] = [&[], &["gpu"], &["gpu", "ssd"]];
const ENGINES: [Option<&str>; 3] = [None, Some("e1"), Some("e2")];

/// Workers of all sorts, and a queue of all sorts.
async fn fill(world: &World, dice: &mut Dice) -> Vec<Claimant> {
    let mut claimants = Vec::new();
    for worker in ["w1", "w2", "w3"] {
        let (engine, labels) = (dice.of(&ENGINES), dice.of(&LABELS));
        world.register_worker(&facts(worker, engine, labels)).await.unwrap();
        if dice.throw(4) == 0 {
            world.set_worker_state(worker, WorkerState::Cordoned).await.unwrap();
        }
        let labels = labels.iter().map(|&label| label.to_owned()).collect::<BTreeSet<_>>();
        let engine = engine.map(str::to_owned);
        claimants.push(Claimant { worker: worker.to_owned(), engine, labels, project_max: Some(2) });
    }
    for _ in 0..12 {
        let name = dice.of(&["a", "b", "c", "d", "e"]);
        let project = dice.of(&["p", "q"]).parse().unwrap();
        let accepted = world.request(Request { project, ..first_deploy(name) }).await.unwrap();
        if dice.throw(4) == 0 {
            world.request_repair(accepted.service.id, Duration::from_secs(3600 * dice.throw(2))).await.unwrap();
        }
        let set = match dice.throw(6) {
            0 => "engine = 'e1'",
            1 => "labels = '[\"gpu\"]'",
            2 => "not_before = not_before + 3600000000",
            3 => "labels = '[\"ssd\",\"gpu\"]'",
            _ => continue,
        };
        world.spoil(format!("UPDATE task SET {set} WHERE id = '{}'", accepted.task)).await;
    }
    if dice.throw(2) == 0 {
        world.spoil("UPDATE service SET engine = 'e2' WHERE name IN ('a', 'c')").await;
    }
    claimants
}

/// The tasks that this claimant may take now, by what is told.
fn may_be_taken(page: &QueuePage, claimant: &Claimant) -> BTreeSet<TaskId> {
    let terms = WaitTerms { project_max: claimant.project_max, ..TERMS };
    let own = |waiting: &Waiting| {
        matches!(waiting, Waiting::NotDue { .. } | Waiting::Behind(_) | Waiting::ProjectFull { .. })
    };
    let worker = page.workers.iter().find(|worker| worker.facts.id == claimant.worker).unwrap();
    let hand = shipway_model::waiting::Hand {
        worker: claimant.worker.clone(),
        engine: claimant.engine.clone(),
        labels: claimant.labels.clone(),
        state: worker.state.word().to_owned(),
        silent_for: 0,
        capacity: 1,
        running: 0,
    };
    let queued = page.tasks.iter().filter(|task| task.stage == Stage::Queued);
    let free = queued.filter(|task| !page.why(task, terms).iter().any(own));
    free.filter(|task| hand.may_take(task.engine.as_deref(), &task.labels)).map(|task| task.id).collect()
}

#[tokio::test]
async fn what_is_told_and_what_the_claim_does_are_the_same_in_every_world() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..8 {
        let world = world().await;
        let mut dice = Dice(seed);
        let claimants = fill(&world, &mut dice).await;
        let mut idle = 0;
        while idle < 6 {
            let claimant = &claimants[usize::try_from(dice.throw(3)).unwrap()];
            let told = may_be_taken(&world.queue(TaskFilter::default()).await, claimant);
            let claimed = world.claim(claimant, LONG).await.unwrap();
            match &claimed {
                Some(lease) => assert!(told.contains(&lease.task.id), "seed {seed}: {claimant:?} {lease:?} {told:?}"),
                None => assert_eq!(told, BTreeSet::new(), "seed {seed}: {claimant:?}"),
            }
            (taken, refused) = (taken + usize::from(claimed.is_some()), refused + usize::from(claimed.is_none()));
            idle = if claimed.is_some() { 0 } else { idle + 1 };
            if let Some(lease) = claimed.filter(|_| dice.throw(2) == 0) {
                world.finish(&lease, &done(None)).await.unwrap();
            }
        }
    }
    assert!(taken > 20 && refused > 20, "{taken} {refused}");
}
