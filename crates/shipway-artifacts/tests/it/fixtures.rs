//! Files to put, and the places to put them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest as _, Sha256};
use shipway_artifacts::{ArtifactError, Artifacts, ArtifactsConfig};
use tempfile::TempDir;

use crate::servers::Server;

pub(crate) const MIB: u64 = 1 << 20;

/// A place, and a folder for local files.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) config: ArtifactsConfig,
    pub(crate) artifacts: Artifacts,
    pub(crate) folder: TempDir,
}

/// A name that no other test has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("bucket-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl World {
    pub(crate) async fn new(name: &'static str, config: ArtifactsConfig) -> Self {
        let artifacts = Artifacts::open(&config).await.unwrap();
        Self { name, config, artifacts, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn directory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ArtifactsConfig::Directory(folder.path().join("kept"));
        let artifacts = Artifacts::open(&config).await.unwrap();
        Self { name: "directory", config, artifacts, folder }
    }

    pub(crate) async fn s3(server: &Server) -> Self {
        Self::new(server.name, server.bucket(&fresh_name(), server.address)).await
    }

    /// One of each kind.
    pub(crate) async fn all() -> Vec<Self> {
        vec![Self::directory().await, Self::s3(Server::s3s()).await, Self::s3(Server::moto()).await]
    }

    /// Writes a local file.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        shipway_stdx::fs::write_atomic(&path, content, 0o600, shipway_stdx::fs::Durability::Process).unwrap();
        path
    }
}

/// Bytes that are no two megabytes the same.
pub(crate) fn content(size: u64, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while (bytes.len() as u64) < size {
        // Knuth's linear congruential generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes()[..7]);
    }
    bytes.truncate(size as usize);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> shipway_model::Digest {
    shipway_model::Digest::from_sha256(Sha256::digest(bytes).into())
}

/// All that came, and the error that ended it, if one did.
pub(crate) async fn collect(
    mut stream: impl Stream<Item = Result<Bytes, ArtifactError>> + Unpin,
) -> (Vec<u8>, Option<ArtifactError>) {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// Waits for a condition, for a bounded time.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come true");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
