//! What is looked at: one service, as wanted, as remembered and as seen.

use shipway_model::instance::Endpoint;
use shipway_model::{Instance, InstanceRole, Micros, ServiceState, Wanted};

/// One service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The time it is.
    pub now: Micros,
    /// What the user asked for.
    pub wanted: Wanted,
    /// What the store says the service is doing.
    pub state: ServiceState,
    /// Its instance rows, each with what the driver sees of the container.
    pub instances: Vec<Sight>,
}

/// One instance row and what became of its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The row.
    pub instance: Instance,
    /// The container.
    pub seen: Seen,
    /// Whether it is known to have no request in flight and to get no new one.
    /// Means something only while it drains.
    pub idle: bool,
}

/// What the driver sees of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The driver does not know it: never started, or already removed.
    Absent,
    /// Made, never started.
    Created,
    /// Running.
    Running {
        /// Where it answers, if the driver could say.
        endpoint: Option<Endpoint>,
    },
    /// Ended.
    Ended {
        /// How, in words.
        how: String,
        /// When, if known.
        at: Option<Micros>,
    },
}

impl World {
    /// Returns the release that should have a live instance now, or `None` when
    /// nothing should run: it is stopped, or nothing has been live yet.
    ///
    /// A service whose state is `stopped` or `starting` while it is wanted is
    /// waiting for a task that gates its start by a probe; that is not for a
    /// repair to hurry.
    #[must_use]
    pub fn release_to_keep(&self) -> Option<u32> {
        match (self.wanted, &self.state) {
            (Wanted::Running, ServiceState::Live { release } | ServiceState::Unhealthy { release, .. }) => {
                Some(*release)
            }
            _ => None,
        }
    }
}

impl Sight {
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.seen, Seen::Running { .. })
    }

    pub(crate) fn is(&self, role: InstanceRole) -> bool {
        self.instance.role == role
    }

    /// A death that was recorded: a container that ended on its own and whose row
    /// now only remembers how often that has happened.
    pub(crate) fn is_grave_of(&self, release: u32) -> bool {
        self.is(InstanceRole::Draining)
            && !self.is_running()
            && self.instance.failures > 0
            && self.instance.release == release
    }

    /// When it died, as far as anybody knows.
    pub(crate) fn died_at(&self) -> Option<Micros> {
        match self.seen {
            Seen::Ended { at: Some(at), .. } => Some(at),
            _ => self.instance.started_at,
        }
    }
}
