//! Waiting for a condition, never for a while.

use std::time::{Duration, Instant};

/// Asks `condition` until it returns something, at most `limit`.
///
/// # Panics
///
/// When the limit has passed; the message is `what`.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes change what is waited for: nothing to wait on but the clock"
)]
#[track_caller]
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < limit, "not within {} s: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
