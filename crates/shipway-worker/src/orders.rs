//! What a worker is told from outside.

use shipway_stdx::shutdown::Shutdown;

/// How a worker is told to end.
#[derive(Debug, Clone)]
pub struct Orders {
    /// Take nothing more and finish what there is, within
    /// [`WorkerConfig::drain`](crate::WorkerConfig::drain).
    pub finish: Shutdown,
    /// Give everything back now.
    pub leave: Shutdown,
}

impl From<Shutdown> for Orders {
    /// To stop is to leave.
    fn from(shutdown: Shutdown) -> Self {
        Self { finish: shutdown.clone(), leave: shutdown }
    }
}

impl Orders {
    pub(crate) fn is_given(&self) -> bool {
        self.finish.is_requested() || self.leave.is_requested()
    }

    pub(crate) async fn given(&mut self) {
        tokio::select! {
            () = self.finish.requested() => {}
            () = self.leave.requested() => {}
        }
    }
}
