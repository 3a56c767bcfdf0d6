//! Random operations against a model small enough to be believed: a list of
//! services, a list of tasks, and the rules in plain words. After each
//! operation the store must say what the model says.

use std::time::Duration;

use proptest::prelude::*;
use shipway_model::{InstanceRole, Outcome, ReleaseState, ServiceId, ServiceState, TaskId, TaskPayload, TaskState};
use shipway_store::{Lease, StoreError};

use super::world::*;

#[derive(Debug, Clone)]
enum Op {
    Ask { service: usize, kind: usize },
    Repair { service: usize, later: bool },
    Claim,
    AddRelease { lease: usize },
    Publish { lease: usize },
    FailRelease { lease: usize },
    Finish { lease: usize, good: bool },
    GiveBack { lease: usize, charge: bool, later: bool },
    Delete { lease: usize },
    Heartbeat { lease: usize },
    Rescue,
}

fn op() -> impl Strategy<Value = Op> {
    // The youngest lease is number 0; older ones are mostly stale.
    let lease = || prop_oneof![4 => Just(0_usize), 1 => 0..4_usize];
    prop_oneof![
        6 => (0..3_usize, 0..6_usize).prop_map(|(service, kind)| Op::Ask { service, kind }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(service, later)| Op::Repair { service, later }),
        8 => Just(Op::Claim),
        4 => lease().prop_map(|lease| Op::AddRelease { lease }),
        4 => lease().prop_map(|lease| Op::Publish { lease }),
        1 => lease().prop_map(|lease| Op::FailRelease { lease }),
        2 => (lease(), any::<bool>()).prop_map(|(lease, good)| Op::Finish { lease, good }),
        2 => (lease(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(lease, charge, later)| Op::GiveBack { lease, charge, later }),
        1 => lease().prop_map(|lease| Op::Delete { lease }),
        1 => lease().prop_map(|lease| Op::Heartbeat { lease }),
        1 => Just(Op::Rescue),
    ]
}

const KINDS: [&str; 6] = ["deploy", "start", "stop", "restart", "rollback", "delete"];
const HOUR: Duration = Duration::from_secs(3600);

fn payload(kind: &str) -> TaskPayload {
    match kind {
        "deploy" => deploy_of("http://127.0.0.1/"),
        "start" => TaskPayload::Start,
        "stop" => TaskPayload::Stop,
        "restart" => TaskPayload::Restart,
        "rollback" => TaskPayload::Rollback { release: 1 },
        _ => TaskPayload::Delete,
    }
}

const fn delay(later: bool) -> Duration {
    if later { HOUR } else { Duration::ZERO }
}

/// A service as the model has it.
#[derive(Debug)]
struct Believed {
    id: ServiceId,
    name: usize,
    version: u64,
    /// `starting`, `live` or `failed`: the operations lead nowhere else.
    state: &'static str,
    live: Option<u32>,
    releases: Vec<&'static str>,
    events: u64,
}

#[derive(Debug)]
struct Queued {
    id: TaskId,
    subject: ServiceId,
    kind: &'static str,
    /// `queued`, `later`, `running`, `done` or `failed`.
    state: &'static str,
    attempt: u32,
}

#[derive(Debug, Default)]
struct Model {
    services: Vec<Believed>,
    tasks: Vec<Queued>,
    stale: u64,
}

impl Model {
    fn service(&mut self, id: ServiceId) -> &mut Believed {
        self.services.iter_mut().find(|service| service.id == id).unwrap()
    }

    fn task(&mut self, id: TaskId) -> &mut Queued {
        self.tasks.iter_mut().find(|task| task.id == id).unwrap()
    }

    fn is_deleting(&self, id: ServiceId) -> bool {
        let open = |task: &&Queued| ["queued", "later", "running"].contains(&task.state);
        self.tasks.iter().filter(open).any(|task| task.subject == id && task.kind == "delete")
    }

    /// The task that must be claimed next: the first that is due, whose subject
    /// has none running, and none before it but repairs that wait.
    fn next(&self) -> Option<usize> {
        (0..self.tasks.len()).find(|&index| {
            let task = &self.tasks[index];
            let same = |other: &&Queued| other.subject == task.subject;
            let in_the_way = |other: &Queued| match other.state {
                "queued" => true,
                "later" => other.kind != "repair",
                _ => false,
            };
            task.state == "queued"
                && !self.tasks.iter().filter(same).any(|other| other.state == "running")
                && !self.tasks[..index].iter().filter(same).any(in_the_way)
        })
    }

    /// Ends a task: its event, and what was still starting has failed.
    fn end(&mut self, id: TaskId, good: bool) {
        let task = self.task(id);
        task.state = if good { "done" } else { "failed" };
        let subject = task.subject;
        let service = self.service(subject);
        for release in service.releases.iter_mut().filter(|release| **release == "starting") {
            *release = "failed";
            service.events += 1;
        }
        if !good && service.state == "starting" {
            service.state = "failed";
            service.version += 1;
            service.events += 1;
        }
        service.events += 1;
    }

    fn put_back(&mut self, id: TaskId, charge: bool, later: bool) {
        let task = self.task(id);
        if charge && task.attempt == 10 {
            self.end(id, false);
            return;
        }
        task.state = if later { "later" } else { "queued" };
        task.attempt -= u32::from(!charge);
    }
}

/// The store, the model, and the leases handed out, youngest first.
struct Both {
    world: World,
    model: Model,
    leases: Vec<Lease>,
    /// The tokens that hold.
    held: Vec<i64>,
}

impl Both {
    async fn apply(&mut self, op: &Op) {
        match *op {
            Op::Ask { service, kind } => self.ask(service, KINDS[kind]).await,
            Op::Repair { service, later } => self.repair(service, later).await,
            Op::Claim => self.claim().await,
            Op::Rescue => self.rescue().await,
            Op::AddRelease { lease }
            | Op::Publish { lease }
            | Op::FailRelease { lease }
            | Op::Finish { lease, .. }
            | Op::GiveBack { lease, .. }
            | Op::Delete { lease }
            | Op::Heartbeat { lease } => {
                if let Some(lease) = self.leases.get(lease).cloned() {
                    self.apply_under(op, &lease).await;
                }
            }
        }
    }

    async fn ask(&mut self, service: usize, kind: &'static str) {
        let known = self.model.services.iter().find(|known| known.name == service).map(|known| known.id);
        let mut request = first_deploy(&format!("service-{service}"));
        request.payload = payload(kind);
        let result = self.world.request(request).await;
        let id = match known {
            None if kind != "deploy" => return assert_not_found(result, "service"),
            Some(id) if self.model.is_deleting(id) => {
                return assert!(matches!(result, Err(StoreError::Deleting)), "{result:?}");
            }
            _ => result.as_ref().unwrap().service.id,
        };
        let accepted = result.unwrap();
        assert_eq!(accepted.created, known.is_none());
        if let Some(known) = known {
            assert_eq!(known, id);
            self.model.service(id).version += 1;
            self.model.service(id).events += 1;
        } else {
            let releases = Vec::new();
            let new = Believed { id, name: service, version: 1, state: "starting", live: None, releases, events: 1 };
            self.model.services.push(new);
        }
        self.model.tasks.push(Queued { id: accepted.task, subject: id, kind, state: "queued", attempt: 0 });
    }

    async fn repair(&mut self, service: usize, later: bool) {
        let known = self.model.services.iter().find(|known| known.name == service).map(|known| known.id);
        let Some(id) = known else { return };
        self.world.request_repair(id, delay(later)).await.unwrap();
        if self.model.is_deleting(id) {
            return;
        }
        let waiting = |task: &&mut Queued| {
            task.subject == id && task.kind == "repair" && ["queued", "later"].contains(&task.state)
        };
        let mut queued: Vec<_> = self.model.tasks.iter_mut().filter(waiting).collect();
        if queued.is_empty() {
            // Its id is not told; the last row is it.
            let task = self.world.texts("SELECT id FROM task ORDER BY number DESC LIMIT 1").await.remove(0);
            let state = if later { "later" } else { "queued" };
            self.model.tasks.push(Queued { id: task.parse().unwrap(), subject: id, kind: "repair", state, attempt: 0 });
        } else if !later {
            queued.iter_mut().for_each(|task| task.state = "queued");
        }
    }

    async fn claim(&mut self) {
        let lease = self.world.claim(&who("worker"), LONG).await.unwrap();
        let expected = self.model.next();
        assert_eq!(lease.as_ref().map(|lease| lease.task.id), expected.map(|index| self.model.tasks[index].id));
        let Some(lease) = lease else { return };
        let task = self.model.task(lease.task.id);
        task.state = "running";
        task.attempt += 1;
        assert_eq!(lease.task.attempt, task.attempt);
        assert!(self.leases.iter().all(|other| other.token < lease.token));
        self.held.push(lease.token);
        self.leases.insert(0, lease);
    }

    async fn rescue(&mut self) {
        let running: Vec<TaskId> =
            self.model.tasks.iter().filter(|task| task.state == "running").map(|task| task.id).collect();
        assert_eq!(self.world.rescue(true).await.unwrap(), running.len() as u64);
        self.world.end_rests().await;
        for task in running {
            self.model.put_back(task, true, false);
        }
        self.held.clear();
    }

    async fn apply_under(&mut self, op: &Op, lease: &Lease) {
        let held = self.held.contains(&lease.token);
        let releases = if held { self.model.service(lease.task.subject.service().unwrap()).releases.len() } else { 1 };
        let newest = u32::try_from(releases).unwrap();
        if newest == 0 && matches!(op, Op::Publish { .. } | Op::FailRelease { .. }) {
            return;
        }
        let (result, ends) = self.write_under(op, lease, newest).await;
        if !held {
            self.model.stale += 1;
            return assert_stale(result);
        }
        if matches!(op, Op::Publish { .. })
            && self.model.service(lease.task.subject.service().unwrap()).releases[releases - 1] == "failed"
        {
            return assert_not_found(result, "release");
        }
        result.unwrap();
        if ends {
            self.held.retain(|token| *token != lease.token);
        }
        self.follow(op, lease);
    }

    /// Does it in the store; returns also whether the lease ends with it.
    async fn write_under(&self, op: &Op, lease: &Lease, newest: u32) -> (Result<(), StoreError>, bool) {
        let world = &self.world;
        match *op {
            Op::AddRelease { .. } => (world.add_release(lease, &spec()).await.map(drop), false),
            Op::Publish { .. } => (self.publish(lease, newest).await, true),
            Op::FailRelease { .. } => (world.fail_release(lease, newest, &failure()).await, true),
            Op::Finish { good: true, .. } => (world.finish(lease, &done(None)).await, true),
            Op::Finish { .. } => (world.finish(lease, &Outcome::Failed(failure())).await, true),
            Op::GiveBack { charge, later, .. } => (world.give_back(lease, delay(later), charge).await, true),
            Op::Delete { .. } => (world.delete_service(lease).await, true),
            _ => (world.heartbeat(lease, LONG).await, false),
        }
    }

    async fn publish(&self, lease: &Lease, number: u32) -> Result<(), StoreError> {
        let instance = shipway_model::Instance {
            container: new_container(),
            service: lease.task.subject.service().unwrap(),
            release: number,
            role: InstanceRole::Candidate,
            endpoint: None,
            failures: 0,
            started_at: None,
            handle: None,
        };
        if self.held.contains(&lease.token) {
            self.world.put_instance(lease, &instance).await?;
        }
        self.world.publish(lease, number, instance.container, &done(Some(number))).await
    }

    /// Does the same in the model.
    fn follow(&mut self, op: &Op, lease: &Lease) {
        let (task, subject) = (lease.task.id, lease.task.subject.service().unwrap());
        match *op {
            Op::AddRelease { .. } => {
                let service = self.model.service(subject);
                service.releases.push("starting");
                service.events += 1;
            }
            Op::Publish { .. } => {
                self.model.service(subject).publish_newest();
                self.model.end(task, true);
            }
            Op::FailRelease { .. } => {
                self.model.service(subject).fail_newest();
                self.model.end(task, false);
            }
            Op::Finish { good, .. } => self.model.end(task, good),
            Op::GiveBack { charge, later, .. } => self.model.put_back(task, charge, later),
            Op::Delete { .. } => {
                self.model.task(task).state = "done";
                self.model.services.retain(|service| service.id != subject);
                let left = |other: &&mut Queued| other.subject == subject && ["queued", "later"].contains(&other.state);
                self.model.tasks.iter_mut().filter(left).for_each(|other| other.state = "done");
            }
            _ => {}
        }
    }

    async fn compare(&mut self) {
        for believed in &self.model.services {
            let service = self.world.service(believed.id).await;
            let context = format!("{believed:?}");
            assert_eq!(service.version, believed.version, "{context}");
            assert_eq!(service.state.word(), believed.state, "{context}");
            if let ServiceState::Live { release } = service.state {
                assert_eq!(Some(release), believed.live, "{context}");
            }
            let releases = self.world.list_releases(believed.id, None, 1000).await.unwrap();
            let states: Vec<_> = releases.iter().rev().map(|release| release_word(&release.state)).collect();
            assert_eq!(states, believed.releases, "{context}");
            assert_eq!(self.world.story(believed.id).await.len() as u64, believed.events, "{context}");
        }
        let all = self.world.list_all_services(None, 1000).await.unwrap();
        assert_eq!(all.len(), self.model.services.len());
        for task in &self.model.tasks {
            let found = self.world.find_task(task.id).await.unwrap().unwrap();
            assert_eq!((task_word(&found.state), found.attempt), (task.state_word(), task.attempt), "{task:?}");
        }
        assert_eq!(self.world.stale_writes(), self.model.stale);
    }
}

impl Believed {
    fn publish_newest(&mut self) {
        let number = u32::try_from(self.releases.len()).unwrap();
        for release in self.releases.iter_mut().filter(|release| **release == "live") {
            *release = "retired";
        }
        self.releases[number as usize - 1] = "live";
        if self.state != "live" || self.live != Some(number) {
            (self.state, self.live) = ("live", Some(number));
            self.version += 1;
            self.events += 1;
        }
    }

    fn fail_newest(&mut self) {
        let newest = self.releases.last_mut().unwrap();
        if *newest == "starting" {
            *newest = "failed";
        }
        self.events += 1;
        // All failures of the model have one reason: told once is enough.
        if self.state == "starting" {
            self.state = "failed";
            self.version += 1;
            self.events += 1;
        }
    }
}

impl Queued {
    fn state_word(&self) -> &'static str {
        if self.state == "later" { "queued" } else { self.state }
    }
}

fn release_word(state: &ReleaseState) -> &'static str {
    match state {
        ReleaseState::Starting => "starting",
        ReleaseState::Live => "live",
        ReleaseState::Retired => "retired",
        ReleaseState::Failed { .. } => "failed",
    }
}

fn task_word(state: &TaskState) -> &'static str {
    match state {
        TaskState::Queued { .. } => "queued",
        TaskState::Running => "running",
        TaskState::Ended(Outcome::Done { .. }) => "done",
        TaskState::Ended(Outcome::Failed(_)) => "failed",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(ops in prop::collection::vec(op(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut both = Both { world: world().await, model: Model::default(), leases: Vec::new(), held: Vec::new() };
            for op in &ops {
                both.apply(op).await;
                both.compare().await;
            }
        });
    }
}
