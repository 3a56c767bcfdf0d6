//! Which of them, by name.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use crate::aws::Aws;
use crate::azure::Azure;
use crate::gcp::Gcp;
use crate::metadata::Metadata;
use crate::signal::Signal;
use crate::{Preemption, Watch};

/// Where the clouds answer, from within.
const ADDRESS: &str = "http://169.254.169.254";

/// Who says that this machine will be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// SIGUSR1, of the operator's own making.
    Signal,
    /// Azure's scheduled events.
    Azure,
    /// The instance action of EC2's spot machines.
    Aws,
    /// The preempted flag of Compute Engine's.
    Gcp,
}

/// A name that none has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} tells nothing of preemption: known are signal (or sigusr1), azure, aws, gcp")]
pub struct UnknownProvider(String);

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "signal" | "sigusr1" => Ok(Self::Signal),
            "azure" => Ok(Self::Azure),
            "aws" => Ok(Self::Aws),
            "gcp" => Ok(Self::Gcp),
            other => Err(UnknownProvider(other.to_owned())),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "signal",
            Self::Azure => "azure",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
        })
    }
}

/// Begins to watch. A cloud is asked `every` so often, at `address` if it is not where
/// that cloud's own machines ask (`http://HOST:PORT`; for tests, and for a forwarder).
///
/// # Errors
///
/// A signal that cannot be listened for, an address that is none.
pub fn watch(provider: Provider, every: Duration, address: Option<&str>) -> io::Result<Box<dyn Preemption>> {
    let metadata = || Metadata::at(address.unwrap_or(ADDRESS));
    Ok(match provider {
        Provider::Signal => Box::new(Signal::listen()?),
        Provider::Azure => Box::new(Watch::new(Azure::new(metadata()?), every)),
        Provider::Aws => Box::new(Watch::new(Aws::new(metadata()?), every)),
        Provider::Gcp => Box::new(Watch::new(Gcp::new(metadata()?), every)),
    })
}
