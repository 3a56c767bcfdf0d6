//! The settings of the role `janitor`, and of what looks after the disk of a host.

use std::time::Duration;

use shipway_janitor::{HousekeepingConfig, JanitorConfig, Keep, Unused};

use super::ConfigError;
use super::values::Field;

/// How long what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JanitorSettings {
    /// Between two rounds.
    pub(crate) every: Duration,
    /// What the database keeps.
    pub(crate) keep: Keep,
    /// What a disk keeps of what nothing needs.
    pub(crate) unused: Unused,
}

impl JanitorSettings {
    /// How a janitor works, where leases last so long.
    pub(crate) const fn janitor(&self, heartbeat: Duration) -> JanitorConfig {
        JanitorConfig { heartbeat, every: self.every, keep: self.keep }
    }

    /// How the disk of this host is looked after.
    pub(crate) const fn housekeeping(&self) -> HousekeepingConfig {
        HousekeepingConfig { every: self.every, unused: self.unused }
    }
}

/// Reads them; `field` finds a setting by its key.
pub(super) fn parse<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<JanitorSettings, ConfigError> {
    let hours = |key: &'static str, most: u64| Ok(Duration::from_secs(field(key).number(1, most)? * 3600));
    let days = |key: &'static str| Ok(Duration::from_secs(field(key).number::<u64>(1, 3650)? * 24 * 3600));
    Ok(JanitorSettings {
        every: Duration::from_secs(field("janitor.every_seconds").number(1, 24 * 3600)?),
        keep: Keep {
            releases: field("janitor.releases_keep").number(0, 10_000)?,
            tasks_age: days("janitor.tasks_days")?,
            events_age: days("janitor.events_days")?,
            ..Keep::default()
        },
        unused: Unused {
            age: hours("janitor.unused_hours", 24 * 3650)?,
            bytes: field("janitor.unused_bytes").number(0, u64::MAX)?,
            ..Unused::default()
        },
    })
}
