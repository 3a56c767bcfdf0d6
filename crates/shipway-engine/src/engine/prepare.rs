//! Warm sandboxes: made up to the last step, waiting for their start.
//!
//! ```text
//! created or exited ──prepare──► the same, with a sandbox ──start──► running
//!          ▲                                  │
//!          └── killed, too old, removed, or the engine gone: nothing of it is left
//! ```
//!
//! A sandbox that waits is no state of its container: nothing on disk says that it is
//! there, and a start that finds it dead makes another. It lives as long as the socket
//! between its shim and this process, so that an engine that dies takes all of them
//! along, and the next [`Engine::open`] sweeps what they held like that of any other
//! start that was cut short. ADR 12 says what it costs and saves.

use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use shipway_shim::protocol::{Launched, ProcessId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::start::{Made, Taken, open_gate, unexpected};
use super::watch::{LAST_MOMENTS, end_of};
use super::{Engine, Inner};
use crate::container::{Container, Running};
use crate::error::Doing;
use crate::packet::Packets;
use crate::sweep::Job;
use crate::{EngineError, process};

/// A sandbox at its gate.
#[derive(Debug)]
pub(crate) struct Prepared {
    reply: Arc<Packets>,
    taken: Taken,
    shim: ProcessId,
    init: ProcessId,
    /// Of the task that notices its end.
    keeper: AbortHandle,
    _place: OwnedSemaphorePermit,
}

impl Engine {
    /// Makes a container's sandbox ahead of its start: all but the filter and the
    /// program. The container stays what it is, and the next [`Engine::start`] is a
    /// fraction of one from nothing. Doing it again is fine.
    ///
    /// It waits for `prepared_for` at most and uses memory meanwhile; what becomes of it
    /// never makes a start fail.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`] when `prepared_max` wait already; [`EngineError::Running`];
    /// otherwise those of [`Engine::start`], whose work this is.
    pub async fn prepare(&self, id: &str) -> Result<(), EngineError> {
        let container = self.inner.find(id)?;
        let inner = Arc::clone(&self.inner);
        let preparing = tokio::spawn(async move { inner.prepare(container).await });
        preparing.await.map_err(std::io::Error::other).doing(|| "prepare a container".to_owned())?
    }
}

impl Inner {
    async fn prepare(self: Arc<Self>, container: Arc<Container>) -> Result<(), EngineError> {
        let _change = container.change.lock().await;
        self.find(&container.spec.id)?;
        if container.running().is_ok() {
            return Err(EngineError::Running(container.spec.id.clone()));
        }
        if container.prepared().as_ref().is_some_and(|one| one.reply.is_silent()) {
            return Ok(());
        }
        self.unprepare(&container).await;
        let most = self.config.prepared_max;
        let full = |_| EngineError::Full(format!("{most} sandboxes wait for their start already"));
        let place = Arc::clone(&self.prepared).try_acquire_owned().map_err(full)?;
        let made = self.make(&container, Some(self.config.prepared_for)).await?;
        let kept = self.keep(&container, made, place).await;
        self.sweep(Job::Refill).await;
        kept
    }

    async fn keep(
        self: &Arc<Self>,
        container: &Arc<Container>,
        made: Made,
        place: OwnedSemaphorePermit,
    ) -> Result<(), EngineError> {
        let Made { taken, reply, launched } = made;
        let Launched::Prepared { shim, init } = launched else {
            self.give_up(container, taken).await;
            return Err(unexpected(&launched));
        };
        if let Err(error) = self.connect(container, taken.slot, init).await {
            reply.hang_up();
            self.give_up(container, taken).await;
            return Err(error);
        }
        let reply = Arc::new(reply);
        let keeper =
            Keeper { engine: Arc::downgrade(self), container: Arc::clone(container), reply: Arc::clone(&reply) };
        let keeper = tokio::spawn(keeper.keep()).abort_handle();
        *container.prepared() = Some(Prepared { reply, taken, shim, init, keeper, _place: place });
        Ok(())
    }

    /// Starts the sandbox that waits, if there is one and it still does. The caller
    /// holds the container's `change`.
    pub(super) async fn start_prepared(&self, container: &Arc<Container>) -> Option<Running> {
        let prepared = container.take_prepared()?;
        match open_gate(&prepared.reply).await {
            Ok(run) => {
                let Taken { slot, cgroup } = prepared.taken;
                Some(self.watch(container, &run, cgroup, slot))
            }
            Err(error) => {
                // If it is the program's fault, a start from nothing will say so again.
                tracing::debug!(container.id = container.spec.id, %error, "its sandbox cannot be used");
                self.discard(container, prepared).await;
                None
            }
        }
    }

    /// Takes away the sandbox that waits, if there is one. The caller holds the
    /// container's `change`.
    pub(super) async fn unprepare(&self, container: &Container) {
        let prepared = container.take_prepared();
        if let Some(prepared) = prepared {
            self.discard(container, prepared).await;
        }
    }

    /// Ends a sandbox and sweeps what it held.
    async fn discard(&self, container: &Container, prepared: Prepared) {
        prepared.reply.hang_up();
        for one in [prepared.shim, prepared.init] {
            let Some(ended) = process::open(one) else { continue };
            // The shim hears the end of its socket and takes the child along. A shim that
            // is stopped, or gone, does not.
            if timeout(LAST_MOMENTS, end_of(ended)).await.is_err() {
                process::kill(one);
            }
        }
        self.give_up(container, prepared.taken).await;
    }
}

impl Container {
    fn prepared(&self) -> MutexGuard<'_, Option<Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_prepared(&self) -> Option<Prepared> {
        let prepared = self.prepared().take()?;
        prepared.keeper.abort();
        Some(prepared)
    }

    /// Lets a sandbox that waits end by itself: nobody is left to sweep after it now.
    pub(super) fn forget_prepared(&self) {
        if let Some(prepared) = self.take_prepared() {
            prepared.reply.hang_up();
        }
    }
}

/// Notices the end of a sandbox that nobody has started. Does not keep the engine open.
struct Keeper {
    engine: Weak<Inner>,
    container: Arc<Container>,
    reply: Arc<Packets>,
}

impl Keeper {
    async fn keep(self) {
        // Whatever it says, or why it says nothing: it does not wait any more. Nothing is
        // taken, for it may be the answer to a start that has come in between.
        drop(self.reply.stirred().await);
        let Some(engine) = self.engine.upgrade() else { return };
        let _change = self.container.change.lock().await;
        let ours = self.container.prepared().take_if(|one| Arc::ptr_eq(&one.reply, &self.reply));
        if let Some(prepared) = ours {
            tracing::debug!(container.id = self.container.spec.id, "its sandbox has gone");
            engine.discard(&self.container, prepared).await;
        }
    }
}
