//! How much of what is over is kept, and for how long.

use std::time::Duration;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the database keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Releases of a service to go back to: so many of the newest, the live one beside them.
    pub releases: u32,
    /// And every release as long as it is younger than this.
    pub releases_age: Duration,
    /// Ended tasks, with their histories, for so long.
    pub tasks_age: Duration,
    /// And no more than so many of them (but those of the last hour stay).
    pub tasks: u64,
    /// Tasks that were given up and that nobody has looked at: so many.
    pub given_up: u64,
    /// For so long.
    pub given_up_age: Duration,
    /// Events of a service: so many of the newest.
    pub events: u64,
    /// Events of a service or token that is no more, for so long after its last one.
    pub events_age: Duration,
    /// Ended builds, with their artifacts, for so long.
    pub builds_age: Duration,
    /// And no more than so many of them.
    pub builds: u64,
    /// Tokens that have expired, for so long.
    pub tokens_age: Duration,
    /// Workers nobody has heard of, for so long.
    pub workers_age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            releases: 10,
            releases_age: DAY,
            tasks_age: 7 * DAY,
            tasks: 100_000,
            given_up: 10_000,
            given_up_age: 90 * DAY,
            events: 10_000,
            events_age: 30 * DAY,
            builds_age: 30 * DAY,
            builds: 10_000,
            tokens_age: 7 * DAY,
            workers_age: DAY,
        }
    }
}

/// What a disk keeps of things that nothing needs, in case they are wanted again: the same
/// file uploaded, the same image imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unused {
    /// For so long after they came or were last made use of.
    pub age: Duration,
    /// No more than so many of a kind.
    pub count: usize,
    /// No more than so many bytes of a kind.
    pub bytes: u64,
}

impl Default for Unused {
    fn default() -> Self {
        Self { age: DAY, count: 1000, bytes: 1 << 30 }
    }
}
