//! How long one side of a body may pause.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A timer for pauses. Costs nothing while frames come without waiting.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Duration,
    waits: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, waits: false, sleep: None }
    }

    /// A frame came: the pause is over.
    pub(super) const fn moved(&mut self) {
        self.waits = false;
    }

    /// No frame is there. Ready when the pause has been too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waits {
            self.waits = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}
