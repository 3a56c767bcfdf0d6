//! Learns that this machine is about to be taken away.
//!
//! Machines that may be taken away are cheap. Their clouds say so a little ahead (30 s to
//! 2 min) at an address that only the machine itself can ask; elsewhere an operator's own
//! script can send a signal. A worker that is told stops claiming and gives its tasks back.
//!
//! Reading order: [`Preemption`] (the contract), `watch` (one question asked again and
//! again), [`azure`](Provider::Azure), [`aws`](Provider::Aws), [`gcp`](Provider::Gcp) (each
//! cloud's question), [`metadata`](MetadataError) (how it is asked).

mod aws;
mod azure;
mod gcp;
mod metadata;
mod provider;
mod signal;
mod watch;

use std::fmt::Debug;

use async_trait::async_trait;

pub use metadata::MetadataError;
pub use provider::{Provider, UnknownProvider, watch};
use watch::Watch;

/// Something that knows when this machine will be taken away.
#[async_trait]
pub trait Preemption: Debug + Send + Sync {
    /// Waits until it is known that the machine will be taken away. Cancelling and asking
    /// again loses nothing. What goes wrong with asking is logged, once until it works.
    async fn foreseen(&mut self) -> Preempted;

    /// Tells the cloud that nothing here needs the machine any more, where it wants to
    /// know; the machine may be gone at once. Best effort.
    async fn ready(&mut self, preempted: &Preempted);
}

/// The machine will be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preempted {
    /// What will happen, in the words of who says so (`Preempt`, `terminate`, `SIGUSR1`).
    pub what: String,
    /// When at the earliest, as the cloud writes it; for people.
    pub not_before: Option<String>,
    /// What the cloud wants to hear back, if anything.
    reply: Option<String>,
}

impl Preempted {
    /// What will happen, in somebody's words.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: shown(&what.into()), not_before: None, reply: None }
    }

    fn not_before(mut self, when: Option<String>) -> Self {
        self.not_before = when.map(|when| shown(&when)).filter(|when| !when.is_empty());
        self
    }
}

/// A word of the metadata service's, fit for a log.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(100).collect()
}
