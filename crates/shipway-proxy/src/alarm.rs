//! When a visitor's time is up.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set up only when something really has to wait.
///
/// Most deadlines move on long before they come. Setting the timer anew only when
/// it rings too early costs nothing for each request.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at `end`.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, end: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            if sleep.deadline() > end {
                sleep.as_mut().reset(end);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
    }
}
