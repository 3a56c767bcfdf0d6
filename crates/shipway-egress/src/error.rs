//! Why a container could not be connected, by what its caller does about it.

use std::io;

use rustix::io::Errno;

use crate::netlink::NetlinkError;

/// Why something about the network could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// What was asked for can never work: which part, and the rule.
    #[error("{0}")]
    Invalid(String),
    /// No pool of addresses is free: each is used by another network of this host.
    #[error("no address pool is free on this host; set network.pools to a prefix that nothing here uses")]
    NoPool,
    /// The pool this engine root's containers have is held by another process.
    #[error("the resolver's address {0} is in use by another process")]
    Owned(std::net::Ipv4Addr),
    /// The container's namespace is gone: it ended meanwhile.
    #[error("the container's network namespace is gone")]
    Gone,
    /// The kernel would not do it.
    #[error("could not {doing}")]
    Host {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Adds what was being done.
pub(crate) trait Doing<T> {
    /// Says it.
    fn doing(self, doing: &'static str) -> Result<T, EgressError>;
}

impl<T> Doing<T> for Result<T, NetlinkError> {
    fn doing(self, doing: &'static str) -> Result<T, EgressError> {
        self.map_err(|error| io::Error::from(error.errno)).doing(doing)
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T, EgressError> {
        self.map_err(|source| match source.raw_os_error() {
            Some(code) if code == Errno::SRCH.raw_os_error() => EgressError::Gone,
            _ => EgressError::Host { doing, source },
        })
    }
}
