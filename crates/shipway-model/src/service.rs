//! A service: something long-running with an address.
//!
//! ```text
//!              first deploy          probe passed
//!   (nothing) ─────────────► starting ───────────► live ◄──► unhealthy
//!                               │                   │            │
//!                               │ probe failed      │ stop       │ stop
//!                               ▼                   ▼            │
//!                             failed ───────────► stopped ◄──────┘
//!                                    (start: back to starting)
//! ```
//!
//! A deploy that fails while an older release is live changes nothing here: the
//! older one stays live and the failure is the release's own state.

use serde::{Deserialize, Serialize};

use crate::{Micros, ProjectName, ServiceId, ServiceName};

/// A service, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Also its host label.
    pub id: ServiceId,
    /// Who owns it.
    pub project: ProjectName,
    /// Unique in its project.
    pub name: ServiceName,
    /// What the user asked for.
    pub wanted: Wanted,
    /// What is.
    pub state: ServiceState,
    /// Changes with every change of this row; the API's `ETag`.
    pub version: u64,
    /// When it was first asked for.
    pub created_at: Micros,
    /// When this row last changed.
    pub updated_at: Micros,
    /// The engine root that its containers live in; none until a worker has taken it up,
    /// and where there is only one.
    pub engine: Option<String>,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Answering visitors.
    Running,
    /// Kept, with its releases, but not running.
    Stopped,
}

/// What a service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ServiceState {
    /// Nothing has been live yet, or a stopped service is coming back.
    Starting,
    /// Visitors reach this release.
    Live {
        /// Its number.
        release: u32,
    },
    /// The release is the live one, but its container keeps dying.
    Unhealthy {
        /// Its number.
        release: u32,
        /// Exit, restarts and last log lines, for the user.
        reason: String,
    },
    /// Asked to stop, and stopped.
    Stopped {
        /// What `start` brings back, or `None` when nothing was ever live.
        release: Option<u32>,
    },
    /// The first deploy did not become ready.
    Failed {
        /// What the probe saw, for the user.
        reason: String,
    },
}

impl ServiceState {
    /// The release visitors reach, or would after `start`.
    #[must_use]
    pub const fn live_release(&self) -> Option<u32> {
        match self {
            Self::Live { release } | Self::Unhealthy { release, .. } => Some(*release),
            Self::Stopped { release } => *release,
            Self::Starting | Self::Failed { .. } => None,
        }
    }

    /// One word for lists, logs and metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live { .. } => "live",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether the state machine above has an arrow from `self` to `next`.
    /// Staying in the same state with other data is always allowed.
    #[must_use]
    pub const fn may_become(&self, next: &Self) -> bool {
        matches!(
            (self, next),
            (Self::Starting, Self::Starting | Self::Live { .. } | Self::Failed { .. } | Self::Stopped { .. })
                | (Self::Live { .. }, Self::Live { .. } | Self::Unhealthy { .. } | Self::Stopped { .. })
                | (Self::Unhealthy { .. }, Self::Live { .. } | Self::Unhealthy { .. } | Self::Stopped { .. })
                | (Self::Stopped { .. }, Self::Starting | Self::Live { .. } | Self::Stopped { .. })
                | (
                    Self::Failed { .. },
                    Self::Starting | Self::Live { .. } | Self::Failed { .. } | Self::Stopped { .. }
                )
        )
    }
}
