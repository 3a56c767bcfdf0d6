//! Whether the control plane is there, and for how long it was not.
//!
//! Visitors are served either way; an operator wants to know all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Since when, how often, and for how long in all.
#[derive(Debug)]
pub(crate) struct Presence(Mutex<Record>);

#[derive(Debug)]
struct Record {
    /// `None` while it is there.
    away_since: Option<Instant>,
    losses: u64,
    away: Duration,
}

impl Default for Presence {
    /// Away from the beginning: nobody has connected yet.
    fn default() -> Self {
        Self(Mutex::new(Record { away_since: Some(Instant::now()), losses: 0, away: Duration::ZERO }))
    }
}

impl Presence {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a control plane has connected.
    pub(crate) fn is_here(&self) {
        let mut record = self.record();
        if let Some(since) = record.away_since.take() {
            record.away += since.elapsed();
        }
    }

    /// Notes that the control plane has hung up and no other has come.
    pub(crate) fn is_gone(&self) {
        let mut record = self.record();
        if record.away_since.is_none() {
            record.away_since = Some(Instant::now());
            record.losses += 1;
        }
    }

    /// Whether it is there (1 or 0), how often it was lost, how long it was away in all.
    pub(crate) fn told(&self) -> (u64, u64, Duration) {
        let record = self.record();
        let now = record.away_since.map_or(Duration::ZERO, |since| since.elapsed());
        (u64::from(record.away_since.is_none()), record.losses, record.away + now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_once_and_time_adds_up() {
        let presence = Presence::default();
        assert_eq!(presence.told().0, 0, "nobody has come yet");
        presence.is_here();
        presence.is_here();
        let (up, losses, away) = presence.told();
        assert_eq!((up, losses), (1, 0));
        assert_eq!(presence.told().2, away, "no time goes by while it is there");
        presence.is_gone();
        presence.is_gone();
        let (up, losses, later) = presence.told();
        assert_eq!((up, losses), (0, 1));
        assert!(later >= away);
    }
}
