//! How much and how long a proxy may answer.

use std::time::Duration;

use super::question::{Question, Resource};

/// Bounds of one question to one proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyLimits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// Until the head of an answer is there. Public mirrors fetch a module they have not seen
    /// while the asker waits, which takes them up to a minute.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For a small answer, in all.
    pub small: Duration,
    /// For an archive, in all.
    pub archive: Duration,
    /// Most bytes of an archive: the go command's own bound of a module.
    pub archive_bytes: u64,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(70),
            idle: Duration::from_secs(30),
            small: Duration::from_secs(90),
            archive: Duration::from_secs(10 * 60),
            archive_bytes: 500 << 20,
        }
    }
}

impl ProxyLimits {
    /// Most bytes of the answer to `question`.
    #[must_use]
    pub fn bytes(&self, question: &Question) -> u64 {
        match question.resource() {
            // A list of all versions of the longest-lived modules has some 50 KB.
            Resource::List => 4 << 20,
            Resource::Info | Resource::Latest => 64 << 10,
            // The go command's own bound of a go.mod.
            Resource::Mod => 16 << 20,
            Resource::Zip => self.archive_bytes,
            Resource::Checksums => 1 << 20,
        }
    }

    /// Longest time of the answer to `question`, in all.
    #[must_use]
    pub fn total(&self, question: &Question) -> Duration {
        if question.resource() == Resource::Zip { self.archive } else { self.small }
    }
}
