//! How patient we are with a service that keeps dying.

use std::time::Duration;

/// How restarts are spaced and when a service counts as sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The wait between the first death and the next start; it doubles with every
    /// further death in a row.
    pub restart_first: Duration,
    /// No wait for a start is longer than this.
    pub restart_longest: Duration,
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
            restart_first: Duration::from_millis(100),
            restart_longest: Duration::from_secs(30),
            forget_after: Duration::from_secs(60),
            crash_loop_from: 3,
        }
    }
}

impl Policy {
    /// How long to wait after so many deaths in a row. (The back-off of `stdx` lives
    /// beside a clock and files; a crate that must not see those works it out itself.)
    pub(crate) fn restart_wait(&self, failures: u32) -> Duration {
        // 2^31 times any wait is past the longest already.
        let doublings = failures.saturating_sub(1).min(31);
        self.restart_first.saturating_mul(1 << doublings).min(self.restart_longest)
    }
}
