//! Starting a container.
//!
//! What can be prepared before is: the launcher runs, the filter is compiled, the
//! cgroup is made. What is left is a few small files, the limits, and one packet; and
//! where the sandbox itself was made ahead (`prepare`), one word.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use shipway_shim::protocol::{Dialer, Gate, Launch, Launched, Network, Root, Run, Upper, VERSION};

use super::{Engine, Inner, blocking};
use crate::container::{Container, Running};
use crate::error::Doing;
use crate::packet::Packets;
use crate::slots::Slot;
use crate::sweep::Job;
use crate::{EngineError, Ingress, launcher, listener};

/// Longest a shim takes to say how it went. It makes some hundred system calls;
/// a minute is a disk that does not answer.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(60);

/// Longest a sandbox waits while it is being connected with the outside.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// What a run has taken from the host.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) slot: Slot,
    pub(super) cgroup: String,
}

/// A sandbox that was made, and what its shim says of it.
pub(super) struct Made {
    pub(super) taken: Taken,
    pub(super) reply: Packets,
    /// Never [`Launched::Failed`].
    pub(super) launched: Launched,
}

impl Engine {
    /// Starts a container, also one that has ended; one that runs already is fine.
    ///
    /// Goes on to its end even when the caller gives up waiting.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`]; [`EngineError::Start`] when it could not be made,
    /// with the step; [`EngineError::Full`], [`EngineError::Host`],
    /// [`EngineError::Missing`] when the host has no room or no means. Nothing is
    /// left of a start that failed.
    pub async fn start(&self, id: &str) -> Result<Running, EngineError> {
        let container = self.inner.find(id)?;
        if let Ok(running) = container.running() {
            return Ok(running);
        }
        let inner = Arc::clone(&self.inner);
        let starting = tokio::spawn(async move { inner.start(container).await });
        starting.await.map_err(std::io::Error::other).doing(|| "start a container".to_owned())?
    }
}

impl Inner {
    async fn start(self: Arc<Self>, container: Arc<Container>) -> Result<Running, EngineError> {
        let _change = container.change.lock().await;
        // Started or removed by somebody else while we waited?
        self.find(&container.spec.id)?;
        if let Ok(running) = container.running() {
            return Ok(running);
        }
        if let Some(running) = self.start_prepared(&container).await {
            return Ok(running);
        }
        let gate = container.spec.egress.map(|_| CONNECT_PATIENCE);
        let made = self.make(&container, gate).await?;
        let running = match self.let_run(&container, &made).await {
            Ok(run) => Ok(self.watch(&container, &run, made.taken.cgroup, made.taken.slot)),
            Err(error) => {
                self.give_up(&container, made.taken).await;
                Err(error)
            }
        };
        self.sweep(Job::Refill).await;
        running
    }

    /// What runs, once whoever waits at a gate has been connected and let through.
    async fn let_run(&self, container: &Container, made: &Made) -> Result<Run, EngineError> {
        match &made.launched {
            Launched::Running(run) => Ok(run.clone()),
            Launched::Prepared { init, .. } => {
                let opened = match self.connect(container, made.taken.slot, *init).await {
                    Ok(()) => open_gate(&made.reply).await,
                    Err(error) => Err(error),
                };
                if opened.is_err() {
                    made.reply.hang_up();
                }
                opened
            }
            other @ Launched::Failed { .. } => Err(unexpected(other)),
        }
    }

    /// Has a sandbox made, to wait for its word for the time of `gate` or to run at once.
    /// What was taken for one that failed is swept.
    pub(super) async fn make(
        self: &Arc<Self>,
        container: &Arc<Container>,
        gate: Option<Duration>,
    ) -> Result<Made, EngineError> {
        let _permit = self.starts.acquire().await;
        // Room to clean up after it, before it is made.
        drop(self.sweeper.reserve().await);
        let (taken, sent) = {
            let (engine, container) = (Arc::clone(self), Arc::clone(container));
            blocking(move || engine.take(&container, gate)).await?
        };
        let answered = match sent {
            Ok(reply) => patiently(&reply).await.map(|launched| (reply, launched)),
            Err(error) => Err(error),
        };
        match answered {
            Ok((reply, launched)) => Ok(Made { taken, reply, launched }),
            Err(error) => {
                self.give_up(container, taken).await;
                Err(error)
            }
        }
    }

    /// Takes what a run needs and sends it off. What was taken is told in any case.
    fn take(
        &self,
        container: &Container,
        gate: Option<Duration>,
    ) -> Result<(Taken, Result<Packets, EngineError>), EngineError> {
        let slot = self.slot(container)?;
        let cgroup = match self.pool.take(&self.cgroups) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                if !keeps_slot(container) {
                    self.slots.give_back(slot, &container.spec.id)?;
                }
                return Err(error);
            }
        };
        let taken = Taken { slot, cgroup };
        let sent = self.send_off(container, &taken, gate);
        Ok((taken, sent))
    }

    fn send_off(&self, container: &Container, taken: &Taken, gate: Option<Duration>) -> Result<Packets, EngineError> {
        let spec = &container.spec;
        self.cgroups.limit(&taken.cgroup, &spec.limits)?;
        let listening = match spec.ingress {
            Ingress::Listener => {
                let path = container.files.listener();
                Some(listener::listen(&path, self.config.proxy_uid)?)
            }
            Ingress::None | Ingress::Dialer { .. } => None,
        };
        let gate_ms = gate.map(|gate| u64::try_from(gate.as_millis()).unwrap_or(u64::MAX));
        let mut launch = Launch { gate_ms, ..self.launch(container, taken) };
        if spec.egress.is_some() {
            let resolv_conf = self.outside.resolv_conf()?;
            launch.files.retain(|file| file.target != resolv_conf.target);
            launch.files.push(resolv_conf);
        }
        // The cgroup and the slot are on disk before anything is in them, so that a
        // crash from here on leaves nothing that cannot be found.
        container.files.write_launch(&launch)?;
        if gate.is_none() {
            container.files.forget_run()?;
        }
        let listening = listening.as_ref().map(AsFd::as_fd);
        self.launcher.send(&launch, listening)
    }

    fn launch(&self, container: &Container, taken: &Taken) -> Launch {
        let spec = &container.spec;
        let dialer = match spec.ingress {
            Ingress::Dialer { address } => Some(Dialer { address, owner_uid: self.config.proxy_uid }),
            Ingress::None | Ingress::Listener => None,
        };
        Launch {
            version: VERSION,
            id: spec.id.clone(),
            state_dir: container.files.state.clone(),
            run_dir: container.files.run.clone(),
            root: spec.root.clone(),
            id_base: taken.slot.base(),
            hostname: spec.hostname().to_owned(),
            binds: spec.binds.clone(),
            files: spec.files.clone(),
            process: spec.process.clone(),
            cgroups: self.cgroups.members(&taken.cgroup),
            network: match spec.network {
                Network::None { address } => Network::None { address },
                Network::Host => Network::Host,
            },
            dialer,
            listener: spec.ingress == Ingress::Listener,
            log: spec.log,
            gate_ms: None,
        }
    }

    /// A free slot, or the one that the files of an earlier run belong to.
    fn slot(&self, container: &Container) -> Result<Slot, EngineError> {
        let id = &container.spec.id;
        let before = kept_slot(container);
        let Some(slot) = before else {
            return self.slots.take(id);
        };
        match self.slots.take_again(slot, id)? {
            true => Ok(slot),
            false => Err(EngineError::Missing {
                missing: "the user ids that own this container's files are in use".to_owned(),
                remedy: "remove the container that has them, or this one".to_owned(),
            }),
        }
    }

    /// Sweeps what was taken for a start that failed.
    pub(super) async fn give_up(&self, container: &Container, taken: Taken) {
        let slot = (!keeps_slot(container)).then(|| (taken.slot, container.spec.id.clone()));
        let cgroup = taken.cgroup;
        if container.spec.egress.is_some() {
            self.sweep(Job::Link(taken.slot)).await;
        }
        self.sweep(Job::Run { cgroup, slot }).await;
        self.sweep(Job::Refill).await;
    }
}

/// Whether something on disk belongs to the ids of its runs.
pub(super) fn keeps_slot(container: &Container) -> bool {
    matches!(container.spec.root, Root::Overlay { upper: Upper::Directory { .. }, .. })
}

/// The slot that the files of an earlier run belong to, if any are kept.
pub(super) fn kept_slot(container: &Container) -> Option<Slot> {
    let launch = keeps_slot(container).then(|| container.files.read_launch()).flatten()?;
    Slot::of_base(launch.id_base)
}

/// Lets a sandbox that waits at its gate run.
pub(super) async fn open_gate(reply: &Packets) -> Result<Run, EngineError> {
    reply.send(&Gate::Open, &[]).await.doing(|| "open a gate".to_owned())?;
    match patiently(reply).await? {
        Launched::Running(run) => Ok(run),
        other => Err(unexpected(&other)),
    }
}

/// The next answer of a launch; one that failed is an error.
pub(super) async fn patiently(reply: &Packets) -> Result<Launched, EngineError> {
    let answer = tokio::time::timeout(LAUNCH_PATIENCE, launcher::answer(reply)).await;
    match answer {
        Ok(Ok(Launched::Failed { step, errno, detail })) => Err(EngineError::Start { step, errno, detail }),
        Ok(answer) => answer,
        Err(_elapsed) => Err(EngineError::Start {
            step: "shim".to_owned(),
            errno: 0,
            detail: format!("no answer within {LAUNCH_PATIENCE:?}"),
        }),
    }
}

/// An answer to another question than ours.
pub(super) fn unexpected(launched: &Launched) -> EngineError {
    EngineError::Start { step: "shim".to_owned(), errno: 0, detail: format!("unexpected answer: {launched:?}") }
}
