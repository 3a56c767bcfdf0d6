//! Waiting for the end of a container, without asking again and again.
//!
//! The end of the shim is an event (its pidfd becomes readable), of shims that an
//! earlier engine started too. By then `exit.json` is there, or it never will be:
//! the shim was killed, and the container is lost.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use shipway_shim::protocol::Run;
use tokio::io::Interest;
use tokio::sync::mpsc;

use super::Inner;
use super::start::keeps_slot;
use crate::cgroups::Cgroups;
use crate::container::{Container, Exited, Phase, Running};
use crate::process;
use crate::ready;
use crate::slots::Slot;
use crate::sweep::Job;

/// Longest wait for what a killed shim left behind to be gone. The kernel has
/// killed it already; only its last moments are waited for.
pub(super) const LAST_MOMENTS: Duration = Duration::from_secs(5);

impl Inner {
    /// Marks a container as running and waits for its end beside everything else.
    pub(super) fn watch(&self, container: &Arc<Container>, run: &Run, cgroup: String, slot: Slot) -> Running {
        let running = Running::from(run);
        let ending = Ending {
            container: Arc::clone(container),
            cgroups: Arc::clone(&self.cgroups),
            sweeper: self.sweeper.clone(),
            running,
        };
        // Opened here and now: the number is the shim's, or it has ended.
        let shim = process::open(run.shim);
        let mut last = container.last_run();
        last.cgroup = Some(cgroup);
        last.slot = Some(slot);
        last.started_at = Some(run.started_at);
        container.phase.send_replace(Phase::Running(running));
        last.watch = Some(tokio::spawn(ending.watch(shim)).abort_handle());
        running
    }
}

/// What is needed at the end. Not the engine: a task that waits does not keep it open.
struct Ending {
    container: Arc<Container>,
    cgroups: Arc<Cgroups>,
    sweeper: mpsc::Sender<Job>,
    running: Running,
}

impl Ending {
    async fn watch(self, shim: Option<OwnedFd>) {
        if let Some(shim) = shim {
            end_of(shim).await;
        }
        let (files, id) = (self.container.files.clone(), &self.container.spec.id);
        let exit = tokio::task::spawn_blocking(move || files.read_exit()).await;
        let exited = match exit {
            Ok(Some(exit)) => Exited::from(exit),
            _ => {
                tracing::warn!(container.id = id, "its shim was killed");
                self.finish_off().await;
                Exited::lost()
            }
        };
        self.conclude(exited).await;
    }

    /// Kills what is left of a container whose shim is gone.
    async fn finish_off(&self) {
        let init = process::open(self.running.init);
        process::kill(self.running.init);
        let cgroup = self.container.last_run().cgroup.clone();
        if let Some(cgroup) = cgroup {
            let cgroups = Arc::clone(&self.cgroups);
            let killed = tokio::task::spawn_blocking(move || cgroups.kill(&cgroup));
            drop(killed.await);
        }
        if let Some(init) = init {
            drop(tokio::time::timeout(LAST_MOMENTS, end_of(init)).await);
        }
    }

    /// Tells how it ended, then hands over what is to be cleaned up.
    async fn conclude(self, exited: Exited) {
        let container = &self.container;
        let (cgroup, slot, used) = {
            let mut last = container.last_run();
            last.watch = None;
            let used = last.slot;
            let slot = match keeps_slot(container) {
                true => None,
                false => last.slot.take(),
            };
            (last.cgroup.take(), slot, used)
        };
        container.phase.send_replace(Phase::Exited(exited));
        if let (Some(_), Some(slot)) = (container.spec.egress, used) {
            drop(self.sweeper.send(Job::Link(slot)).await);
        }
        if let Some(cgroup) = cgroup {
            let slot = slot.map(|slot| (slot, container.spec.id.clone()));
            // An error is an engine that is closing: the next open sweeps.
            drop(self.sweeper.send(Job::Run { cgroup, slot }).await);
        }
    }
}

/// Waits for the end of the process behind a pidfd.
pub(super) async fn end_of(pidfd: OwnedFd) {
    // Neither fails for a pidfd; if one did, the process counts as ended, and what
    // it left on disk is the judge.
    if let Ok(pidfd) = ready::register(pidfd, Interest::READABLE) {
        drop(pidfd.readable().await);
    }
}
