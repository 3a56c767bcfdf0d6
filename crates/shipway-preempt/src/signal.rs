//! SIGUSR1: whatever else knows of preemption can say so.

use std::io;

use async_trait::async_trait;
use tokio::signal::unix::{self, SignalKind};

use crate::{Preempted, Preemption};

#[derive(Debug)]
pub(crate) struct Signal(unix::Signal);

impl Signal {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self(unix::signal(SignalKind::user_defined1())?))
    }
}

#[async_trait]
impl Preemption for Signal {
    async fn foreseen(&mut self) -> Preempted {
        if self.0.recv().await.is_none() {
            // The runtime is ending: nobody will be told of anything any more.
            std::future::pending::<()>().await;
        }
        Preempted::new("SIGUSR1")
    }

    async fn ready(&mut self, _preempted: &Preempted) {}
}
