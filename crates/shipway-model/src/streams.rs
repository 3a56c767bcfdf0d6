//! Where what cannot pass through the store is asked for.

use std::fmt;

/// Where a worker is asked for what cannot pass through the store: logs as they are
/// written, exec, stats. Whoever can read the store may ask.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamDoor {
    /// `host:port`, as other machines reach it.
    pub address: String,
    /// SHA-256 of the certificate that it shows there, in hexadecimal.
    pub certificate: String,
    /// What it wants to hear before it opens; a new one with every start.
    pub secret: String,
}

impl fmt::Debug for StreamDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDoor").field("address", &self.address).finish_non_exhaustive()
    }
}
