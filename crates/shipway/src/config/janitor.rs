//! The settings of the role `janitor`, and of what looks after a disk.

use std::time::Duration;

use shipway_janitor::{HousekeepingConfig, JanitorConfig, Keep, Unused};

use super::ConfigError;
use super::values::{Config, Field};

/// What is kept, and how often it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JanitorSettings {
    every: Duration,
    /// What the database keeps.
    keep: Keep,
    /// What a disk keeps of what nothing needs.
    unused: Unused,
}

/// Reads them; `field` finds a setting by its key.
pub(super) fn parse<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<JanitorSettings, ConfigError> {
    let days = |key: &'static str| Ok(Duration::from_secs(field(key).number::<u64>(1, 3650)? * 24 * 3600));
    Ok(JanitorSettings {
        every: Duration::from_secs(field("janitor.every_seconds").number(1, 24 * 3600)?),
        keep: Keep {
            releases: field("janitor.releases_keep").number(0, 10_000)?,
            tasks_age: days("janitor.tasks_days")?,
            events_age: days("janitor.events_days")?,
            builds_age: days("janitor.builds_days")?,
            builds: field("janitor.builds_keep").number(1, 1_000_000)?,
            ..Keep::default()
        },
        unused: Unused {
            age: Duration::from_secs(field("janitor.unused_hours").number::<u64>(1, 24 * 3650)? * 3600),
            bytes: field("janitor.unused_bytes").number(0, u64::MAX)?,
            ..Unused::default()
        },
    })
}

impl Config {
    /// For what looks after the store.
    pub(crate) fn janitor(&self) -> JanitorConfig {
        let JanitorSettings { every, keep, .. } = self.janitor;
        JanitorConfig { heartbeat: self.worker.lease.heartbeat, every, keep }
    }

    /// For what looks after this host's disk.
    pub(crate) fn housekeeping(&self) -> HousekeepingConfig {
        HousekeepingConfig { every: self.janitor.every, unused: self.janitor.unused }
    }
}
