//! Between the guard, which sees a visitor's bytes, and the code that answers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::Refusal;

/// What the guard and the code that answers tell each other.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The number of the replaced request, and why.
    refused: OnceLock<(u64, Refusal)>,
    /// The number of the request whose upgrade is undecided, or 0.
    switching: AtomicU64,
    upgraded: AtomicBool,
    waker: AtomicWaker,
    answered: AtomicU64,
    /// Whether the connection ended because the visitor did not read.
    unread: AtomicBool,
    born: Instant,
    /// When the last answer was over, in microseconds after `born`.
    last_answer: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            refused: OnceLock::new(),
            switching: AtomicU64::new(0),
            upgraded: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            answered: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            born: Instant::now(),
            last_answer: AtomicU64::new(0),
        }
    }
}

/// The guard's side.
impl Gate {
    /// Says that request `number` is replaced. Only the first refusal counts: the
    /// guard passes nothing after it.
    pub(super) fn refuse(&self, number: u64, refusal: Refusal) {
        self.refused.set((number, refusal)).ok();
    }

    /// What was refused, if anything was.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused.get().map(|(_, refusal)| *refusal)
    }

    /// Says that request `number` asks for another protocol.
    pub(super) fn ask_upgrade(&self, number: u64) {
        self.switching.store(number, Ordering::Release);
    }

    /// Whether the upgrade was answered with 101; `None`: not decided, and the task
    /// of `cx` is woken when it is.
    pub(super) fn decision(&self, cx: &Context<'_>) -> Option<bool> {
        self.waker.register(cx.waker());
        let is_decided = self.switching.load(Ordering::Acquire) == 0;
        is_decided.then(|| self.upgraded.load(Ordering::Acquire))
    }

    /// Says that the visitor has not read for too long.
    pub(super) fn give_up_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Since when the connection has been idle, if it is after `heads` requests.
    pub(super) fn idle_since(&self, heads: u64) -> Option<Instant> {
        let is_idle = self.answered.load(Ordering::Acquire) >= heads;
        let after = Duration::from_micros(self.last_answer.load(Ordering::Acquire));
        is_idle.then(|| self.born + after)
    }
}

/// The side of the code that answers.
impl Gate {
    /// Why request `number` was replaced, if it was.
    pub(crate) fn refusal(&self, number: u64) -> Option<Refusal> {
        let (refused, refusal) = self.refused.get()?;
        (*refused == number).then_some(*refusal)
    }

    /// Whether request `number` asks for another protocol.
    pub(crate) fn asks_upgrade(&self, number: u64) -> bool {
        self.switching.load(Ordering::Acquire) == number
    }

    /// Says how request `number` was answered: with 101, or otherwise.
    pub(crate) fn decide(&self, number: u64, upgraded: bool) {
        if self.asks_upgrade(number) {
            self.upgraded.store(upgraded, Ordering::Release);
            self.switching.store(0, Ordering::Release);
            self.waker.wake();
        }
    }

    /// Whether the visitor did not read for too long.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// Counts a finished answer: the connection may be idle now.
    pub(crate) fn answered(&self) {
        let after = u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_answer.store(after, Ordering::Release);
        self.answered.fetch_add(1, Ordering::AcqRel);
    }
}
