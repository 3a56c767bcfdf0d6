//! Connecting containers with the outside: at their start, after a restart of the
//! engine, and all the time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use shipway_egress::Seen;
use shipway_shim::protocol::ProcessId;

use super::{Engine, Inner, blocking};
use crate::container::Container;
use crate::outside::Member;
use crate::slots::Slot;
use crate::{EngineError, process};

/// Between two looks at the host's network without news of it.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Many changes of a firewall come at once; they are looked at together.
const CALM: Duration = Duration::from_millis(200);

impl Engine {
    /// Says what was counted of a container's packets and questions; `None` for one that
    /// has no way out.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::NotRunning`], [`EngineError::Start`]
    /// when the kernel does not say.
    pub async fn reached(&self, id: &str) -> Result<Option<Seen>, EngineError> {
        let container = self.inner.find(id)?;
        container.running()?;
        let slot = container.last_run().slot;
        let (Some(slot), Some(_)) = (slot, container.spec.egress) else { return Ok(None) };
        let outside = Arc::clone(&self.inner.outside);
        blocking(move || outside.seen(slot)).await
    }

    /// Says what of this host stands in the way of containers that have a way out, each
    /// with its remedy: a firewall that drops their packets, a missing route. Empty when
    /// nothing does, or nobody has one.
    ///
    /// # Errors
    ///
    /// [`EngineError::Start`] when the kernel does not say.
    pub async fn obstacles(&self) -> Result<Vec<String>, EngineError> {
        let outside = Arc::clone(&self.inner.outside);
        blocking(move || outside.obstacles()).await
    }
}

impl Inner {
    /// Connects a container whose sandbox waits at its gate, if it is to be.
    pub(super) async fn connect(&self, container: &Container, slot: Slot, init: ProcessId) -> Result<(), EngineError> {
        let Some(egress) = container.spec.egress else { return Ok(()) };
        let gone = || EngineError::Start {
            step: "network".to_owned(),
            errno: 0,
            detail: "the sandbox ended before it was connected".to_owned(),
        };
        let process = process::open(init).ok_or_else(gone)?;
        let outside = Arc::clone(&self.outside);
        blocking(move || outside.attach(&Member { slot, process, egress })).await
    }

    /// Those who are to be connected now.
    fn members(&self) -> Vec<Member> {
        let containers: Vec<Arc<Container>> = self.containers().values().map(Arc::clone).collect();
        let member = |container: &Arc<Container>| {
            let egress = container.spec.egress?;
            let running = container.running().ok()?;
            let slot = container.last_run().slot?;
            Some(Member { slot, process: process::open(running.init)?, egress })
        };
        containers.iter().filter_map(member).collect()
    }

    /// Puts links in order, where there are or were any.
    pub(super) async fn reconcile(self: &Arc<Self>) -> Result<(), EngineError> {
        let engine = Arc::clone(self);
        blocking(move || {
            let members = engine.members();
            if members.is_empty() && engine.outside.opened().is_none() && !engine.outside.has_traces() {
                return Ok(());
            }
            engine.outside.reconcile(&members)
        })
        .await
    }
}

/// Keeps links in order as long as the engine is there. Does not keep it open.
pub(super) async fn keep(engine: Weak<Inner>) {
    let mut watch = None;
    let Some(set_up) = engine.upgrade().map(|engine| engine.outside.news()) else { return };
    loop {
        if let Some(engine) = engine.upgrade()
            && watch.is_none()
        {
            watch = engine.outside.watch();
        }
        let news = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => {
                    set_up.notified().await;
                    Ok(())
                }
            }
        };
        match tokio::time::timeout(LOOK_EVERY, news).await {
            Ok(Ok(())) => tokio::time::sleep(CALM).await,
            Ok(Err(error)) => {
                tracing::warn!(%error, "changes of the firewall are not heard of any more");
                watch = None;
                // As without news: a socket that fails at once must not become a busy loop.
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(_elapsed) => {}
        }
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = engine.reconcile().await {
            tracing::warn!(%error, "containers' links cannot be looked after");
        }
    }
}
