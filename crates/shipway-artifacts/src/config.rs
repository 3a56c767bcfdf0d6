//! Where artifacts are kept, and what opens the place.
//!
//! The keys have the names of the Caddy build server's configuration file (`storage.…`);
//! errors name them so.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where artifacts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactsConfig {
    /// `storage.type: local`: a directory (`storage.local.path`), made if need be. Several
    /// processes may share it, and several hosts where its file system knows `flock`.
    Directory(PathBuf),
    /// `storage.type: s3`.
    S3(S3Config),
}

/// A bucket, and the right to use it (`storage.s3.…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// `bucket`.
    pub bucket: String,
    /// `region`; what a server of one's own ignores is still signed with.
    pub region: String,
    /// `endpoint`: URL of a server other than Amazon's; then the bucket is in the path.
    pub endpoint: Option<String>,
    /// `access_key`.
    pub access_key: String,
    /// `secret_key`.
    pub secret_key: Secret,
    /// How long is waited.
    pub limits: S3Limits,
}

/// How long S3 is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Limits {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an answer to begin, after the request was sent. What is sent has time for itself: a
    /// second for each 128 KiB.
    pub answer: Duration,
    /// Between two pieces of an answer.
    pub stall: Duration,
    /// Tries of one request in all.
    pub tries: u32,
    /// The wait after the first try; doubled after each, up to 10 s, and half of it by chance. With the
    /// defaults a request's waits add up to 6 seconds at most.
    pub first_wait: Duration,
}

impl Default for S3Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            tries: 6,
            first_wait: Duration::from_millis(200),
        }
    }
}

/// A text that is never shown: neither `Debug` nor an error has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever opens something with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let config = S3Config {
            bucket: "b".to_owned(),
            region: "r".to_owned(),
            endpoint: None,
            access_key: "AK".to_owned(),
            secret_key: Secret::new("very secret".to_owned()),
            limits: S3Limits::default(),
        };
        let shown = format!("{:?} {config:#?}", ArtifactsConfig::S3(config.clone()));
        assert!(!shown.contains("very"), "{shown}");
        assert_eq!(config.secret_key.reveal(), "very secret");
    }
}
