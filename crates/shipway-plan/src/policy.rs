//! How patient we are with a service that keeps dying.

use std::time::Duration;

use shipway_stdx::backoff::Backoff;

/// How restarts are spaced and when a service counts as sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The wait between a death and the next start, by deaths in a row.
    pub restart: Backoff,
    /// After so much good health all deaths are forgotten. Shorter, and a script
    /// that dies every minute never slows down; longer, and one bad minute in
    /// the morning still costs half a minute in the evening.
    pub forget_after: Duration,
    /// From so many deaths in a row on the service is reported as unhealthy. One
    /// death is an accident, two may be; three are a pattern.
    pub crash_loop_from: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30) },
            forget_after: Duration::from_secs(60),
            crash_loop_from: 3,
        }
    }
}
