//! How long to wait before trying again.

use std::time::Duration;

/// Exponential back-off: the first wait, doubled with every failure in a row,
/// never longer than the longest.
///
/// A value, not a loop: the caller counts failures (usually in the store, so
/// that a restart does not forget them) and asks for the next wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// No wait is longer than this.
    pub longest: Duration,
}

impl Backoff {
    /// Returns the wait after `failures` failures in a row; zero after none.
    #[must_use]
    pub fn wait_after(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        // 2^31 times anything is past `longest` already.
        let factor = 1_u32 << doublings.min(31);
        self.first.checked_mul(factor).map_or(self.longest, |wait| wait.min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let waits: Vec<u128> = (0..7).map(|n| backoff.wait_after(n).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.wait_after(u32::MAX), Duration::from_secs(1));
    }
}
