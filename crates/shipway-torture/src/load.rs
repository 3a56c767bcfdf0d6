//! Requests, as many as are wanted, of whichever part answers.
//!
//! Deploys of small contents into many services of a few projects, and between them
//! everything else that can be asked of a service. Each request has a nonce of its own,
//! by which it is found again in the database and in the world.

mod ask;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{ContentKind, Egress, HealthCheck, Limits, ProjectName, Runner, ServiceId, Source, TaskPayload};
use tokio::time::sleep;

pub use ask::{ask, counts, unsettled};

use crate::dice::Dice;
use crate::ledger::{Asked, Ledger};
use crate::paper::NONCE;
use crate::part::api::{Answer, Ask};

/// Who was refused, or found nobody, comes back after this.
const AGAIN: Duration = Duration::from_millis(100);

/// Whoever asks looks after so many requests whether too many wait already.
const LOOK_AFTER: usize = 10;

/// A deploy as the tester asks for it.
#[must_use]
pub fn deploy_of(source: Source, nonce: &str, env: Vec<(String, String)>) -> Deploy {
    let mut env: std::collections::BTreeMap<String, String> = env.into_iter().collect();
    env.insert(NONCE.to_owned(), nonce.to_owned());
    Deploy {
        program: DeployProgram::Content {
            content: Content::Blob(source),
            kind: ContentKind::Static,
            runner: Runner::Native,
        },
        env,
        limits: Limits::default(),
        health: HealthCheck { path: None, deadline_ms: 10_000 },
        egress: Egress::None,
    }
}

/// How much is asked, of what.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Begins every nonce.
    pub prefix: String,
    /// Services of each project.
    pub services: usize,
    /// Their projects.
    pub projects: Vec<String>,
    /// So many may wait; then nobody asks for a while.
    pub open_max: u64,
    /// Environment of every deploy.
    pub env: Vec<(String, String)>,
    /// Only deploys.
    pub only_deploys: bool,
}

impl Plan {
    /// A mixed load on `services` services of three projects.
    #[must_use]
    pub fn mixed(prefix: &str, services: usize) -> Self {
        let projects = ["default", "red", "blue"].map(str::to_owned).to_vec();
        Self { prefix: prefix.to_owned(), services, projects, open_max: 120, env: Vec::new(), only_deploys: false }
    }
}

/// A service that is asked for things.
#[derive(Debug, Clone)]
struct Target {
    project: ProjectName,
    name: String,
    id: Option<ServiceId>,
    deploys: u32,
}

/// The requests of one run.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    targets: Mutex<Vec<Target>>,
    asked: Mutex<usize>,
}

impl Load {
    /// Prepares the services, which are made when they are first deployed.
    ///
    /// # Panics
    ///
    /// When a project's name is none.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let target = |project: &String, n: usize| Target {
            project: project.parse().expect("a plan's projects have names"),
            name: format!("service-{n}"),
            id: None,
            deploys: 0,
        };
        let of = |project| (0..plan.services).map(move |n| target(project, n));
        let targets = Mutex::new(plan.projects.iter().flat_map(of).collect());
        Self { plan, targets, asked: Mutex::new(0) }
    }

    /// Asks for one thing after another until `enough` says so.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    pub async fn run(
        &self,
        sockets: &[PathBuf],
        ledger: &Ledger,
        mut dice: Dice,
        enough: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        let mut since = 0;
        while !enough() {
            let socket = dice.one_of(sockets).clone();
            since += 1;
            if since >= LOOK_AFTER {
                since = 0;
                match counts(&socket).await {
                    Ok((queued, ..)) if queued < self.plan.open_max => {}
                    _ => {
                        sleep(AGAIN).await;
                        since = LOOK_AFTER;
                        continue;
                    }
                }
            }
            if !self.ask_one(&socket, ledger, &mut dice).await? {
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// Asks for one thing. Returns whether it was accepted.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    pub async fn ask_one(&self, socket: &Path, ledger: &Ledger, dice: &mut Dice) -> anyhow::Result<bool> {
        let place = dice.below(lock(&self.targets).len());
        let target = lock(&self.targets)[place].clone();
        let question = self.question(&target, dice);
        self.put(socket, ledger, (place, &target), question).await
    }

    /// Asks for a restart of one of the services that are there. Returns whether it was
    /// accepted.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    pub async fn restart_any(&self, socket: &Path, ledger: &Ledger, dice: &mut Dice) -> anyhow::Result<bool> {
        let place = dice.below(lock(&self.targets).len());
        let target = lock(&self.targets)[place].clone();
        let Some(service) = target.id else { return Ok(false) };
        let (nonce, project) = (self.nonce(), target.project.clone());
        let payload = Box::new(TaskPayload::Restart);
        let question = Ask::Change { project, service, nonce: nonce.clone(), payload };
        self.put(socket, ledger, (place, &target), (nonce, "restart", question)).await
    }

    /// Puts a question about a target, and notes what came of it.
    async fn put(
        &self,
        socket: &Path,
        ledger: &Ledger,
        (place, target): (usize, &Target),
        (nonce, kind, question): (String, &'static str, Ask),
    ) -> anyhow::Result<bool> {
        let answer = ask(socket, &question).await;
        let task = match &answer {
            Ok(Answer::Accepted { task, service }) => {
                self.learn(place, kind, *service);
                Some(task.to_string())
            }
            // It says that nothing was done; or that it does not know.
            Ok(_) => {
                self.learn_refusal(place, target);
                return Ok(false);
            }
            Err(_) => None,
        };
        ledger.write(Asked { nonce, kind: kind.to_owned(), poison: false, task, build: None })?;
        Ok(answer.is_ok())
    }

    /// Asks for a deploy of a service of its own, with further environment.
    ///
    /// # Errors
    ///
    /// It was not accepted.
    pub async fn deploy(
        &self,
        socket: &Path,
        ledger: &Ledger,
        name: &str,
        env: Vec<(String, String)>,
    ) -> anyhow::Result<String> {
        let nonce = self.nonce();
        let poison = env.iter().any(|(name, _)| name == crate::paper::POISON);
        let project = self.plan.projects[0].parse()?;
        let content = format!("content of {nonce}\n");
        let question = Ask::Deploy { project, name: name.parse()?, nonce: nonce.clone(), content, env };
        match ask(socket, &question).await? {
            Answer::Accepted { task, .. } => {
                let task = task.to_string();
                let asked = Asked { nonce, kind: "deploy".to_owned(), poison, task: Some(task.clone()), build: None };
                ledger.write(asked)?;
                Ok(task)
            }
            other => anyhow::bail!("a deploy was not accepted: {other:?}"),
        }
    }

    fn nonce(&self) -> String {
        let mut asked = lock(&self.asked);
        *asked += 1;
        format!("{}-{asked}", self.plan.prefix)
    }

    fn question(&self, target: &Target, dice: &mut Dice) -> (String, &'static str, Ask) {
        let nonce = self.nonce();
        let change = target.id.filter(|_| !self.plan.only_deploys).map(|id| (id, dice.below(30)));
        let payload = match change {
            Some((_, 12..14)) => TaskPayload::Restart,
            Some((_, 14..17)) => TaskPayload::Rollback { release: release(target, dice) },
            Some((_, 17)) => TaskPayload::Stop,
            Some((_, 18..20)) => TaskPayload::Start,
            Some((_, 20)) if dice.below(3) == 0 => TaskPayload::Delete,
            Some((_, 20..)) => TaskPayload::Repair,
            _ => {
                let content = format!("content of {nonce}\n");
                let name = target.name.parse().expect("a target's name is one");
                let (project, env) = (target.project.clone(), self.plan.env.clone());
                return (nonce.clone(), "deploy", Ask::Deploy { project, name, nonce, content, env });
            }
        };
        let kind = payload.kind();
        let service = change.map(|(id, _)| id).expect("changes are asked of what is there");
        let project = target.project.clone();
        (nonce.clone(), kind, Ask::Change { project, service, nonce, payload: Box::new(payload) })
    }

    fn learn(&self, place: usize, kind: &str, service: ServiceId) {
        let mut targets = lock(&self.targets);
        let target = &mut targets[place];
        if kind == "delete" {
            (target.id, target.deploys) = (None, 0);
        } else {
            target.id = Some(service);
            target.deploys += u32::from(kind == "deploy");
        }
    }

    /// What refused may be gone: a deploy finds the service again, or makes another.
    fn learn_refusal(&self, place: usize, seen: &Target) {
        let mut targets = lock(&self.targets);
        if targets[place].id == seen.id {
            targets[place].id = None;
        }
    }
}

/// One that was probably live at some time; sometimes one that never was.
fn release(target: &Target, dice: &mut Dice) -> u32 {
    let most = usize::try_from(target.deploys).unwrap_or(0);
    u32::try_from(dice.below(most + 2)).unwrap_or(0).max(1)
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
