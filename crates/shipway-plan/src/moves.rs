//! What can be done about a service, one small step each.
//!
//! Every move can be made twice, and a worker may be killed in the middle of it:
//! the next plan names what is left of it.

use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, Micros};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The service becomes `stopped`; its visitors are told so from here on.
    MarkStopped {
        /// What `start` brings back.
        release: u32,
    },
    /// Kill the container, remove it, forget its row. Nobody is served by it.
    Discard {
        /// Which.
        container: ContainerId,
    },
    /// The live row becomes draining: no new visitor is sent there.
    Retire {
        /// Which.
        container: ContainerId,
    },
    /// Let it finish what it has (at most a moment), ask it to stop, remove it,
    /// forget its row.
    Drain {
        /// Which.
        container: ContainerId,
    },
    /// The live container has ended by itself. Say so, and make its row a grave: draining,
    /// with no endpoint and this many failures.
    Bury {
        /// Which.
        container: ContainerId,
        /// Its release.
        release: u32,
        /// How it ended, in words.
        how: String,
        /// Deaths in a row, this one included.
        failures: u32,
    },
    /// The service becomes `unhealthy`, with the last log lines of this grave.
    MarkUnhealthy {
        /// The grave.
        container: ContainerId,
        /// Its release.
        release: u32,
        /// Deaths in a row.
        failures: u32,
    },
    /// Bring up a new container of the live release and make it the live one.
    Revive {
        /// Which release.
        release: u32,
        /// Deaths in a row so far; the new row carries them on.
        failures: u32,
    },
    /// The live container answers somewhere else than its row says: write it down.
    Adopt {
        /// Which.
        container: ContainerId,
        /// Where it answers.
        endpoint: Endpoint,
    },
    /// The live container has been well for long: its row has no failures any more.
    Forgive {
        /// Which.
        container: ContainerId,
    },
    /// The service is `live` again.
    MarkLive {
        /// Its release.
        release: u32,
    },
    /// Nothing before this time; then ask again. Always the last move.
    Wait {
        /// When.
        until: Micros,
    },
}

impl Move {
    /// Whether this is something to do now.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        !matches!(self, Self::Wait { .. })
    }
}
