//! Ids are types: a container's id cannot be passed where a service's belongs.
//!
//! All are version 4 UUIDs, minted by whoever creates the thing (this crate has
//! no randomness), written in lower case with hyphens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// A service; also the label of its host name, `<id>.<host>`.
    ServiceId,
    /// A build.
    BuildId,
    /// A container of the driver's.
    ContainerId,
    /// A unit of the durable queue.
    TaskId,
    /// An API token (its id, never its secret).
    TokenId,
}
