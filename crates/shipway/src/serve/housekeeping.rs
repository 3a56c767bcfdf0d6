//! The janitor's loops, started; and the places on this host's disk that one of them looks
//! after: content, trees of imported images, host images; and what builds made.
//!
//! (Logs of containers go with their containers, which the engine sweeps itself.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use shipway_artifacts::Artifacts;
use shipway_engine::host_image::HostImages;
use shipway_engine::layers::Layers;
use shipway_fetch::Blobs;
use shipway_janitor::{Gauges, Housekeeping, HousekeepingParts, Janitor, Kept, Parts, Place, PlaceError};
use shipway_model::{Digest, Micros};
use shipway_stdx::chain;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown::Shutdown;
use shipway_store::Store;
use tokio::task::JoinSet;

use super::base::Base;
use super::worker::Working;

/// Starts what looks after the store, if that is this process's role; whether it is still for
/// this version; after the disk, where
/// this process or another of this installation puts something on it; and after the figures
/// of the queue, where somebody can ask for them.
pub(super) fn start(
    base: &Base,
    worker: Option<&Working>,
    layers: Option<Arc<Layers>>,
    artifacts: Option<Artifacts>,
    shutdown: &Shutdown,
    parts: &mut JoinSet<()>,
) {
    let Base { config, store, .. } = base;
    let roles = config.roles;
    parts.spawn(until_outgrown(store.clone(), shutdown.clone()));
    if roles.janitor {
        let janitor = Janitor::new(config.janitor(), Parts { store: store.clone() });
        parts.spawn(janitor.run(shutdown.clone()));
    }
    if roles.api || config.status_listen.is_some() {
        parts.spawn(Gauges::new(store.clone(), config.worker.lease.heartbeat).run(shutdown.clone()));
    }
    if let Some(layers) = layers {
        let mut places = places(base, worker, layers);
        places.extend(artifacts.map(|artifacts| Arc::new(Made(artifacts)) as Arc<dyn Place>));
        let housekeeping = HousekeepingParts { store: store.clone(), clock: Arc::new(HostClock), places };
        parts.spawn(Housekeeping::new(config.housekeeping(), housekeeping).run(shutdown.clone()));
    }
}

/// Ends when a newer version has taken from the database what this one needs, and so ends the
/// process: every write would be refused.
async fn until_outgrown(store: Store, mut shutdown: Shutdown) {
    tokio::select! {
        why = store.outgrown() => tracing::error!(%why, "this version can do nothing more here"),
        () = shutdown.requested() => {}
    }
}

/// An api without a worker receives content and images too. Where both are processes of one
/// installation, both look: to come second is to find nothing.
fn places(base: &Base, worker: Option<&Working>, layers: Arc<Layers>) -> Vec<Arc<dyn Place>> {
    let trees = |kind| Arc::new(Trees { kind, bytes: Mutex::default() }) as Arc<dyn Place>;
    let content = Arc::new(Content(base.blobs.clone())) as Arc<dyn Place>;
    let host_images = worker.map(|worker| trees(Kind::HostImages(Arc::clone(worker.driver.images()))));
    [content, trees(Kind::Layers(layers))].into_iter().chain(host_images).collect()
}

fn failed(error: impl std::error::Error) -> PlaceError {
    PlaceError(chain(&error))
}

fn digest(name: &str) -> Result<Digest, PlaceError> {
    name.parse().map_err(failed)
}

fn micros(time: SystemTime) -> Micros {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

fn time(micros: Micros) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Does what may take long where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlaceError> + Send + 'static,
) -> Result<T, PlaceError> {
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// What was fetched or uploaded.
#[derive(Debug)]
struct Content(Blobs);

#[async_trait]
impl Place for Content {
    fn word(&self) -> &'static str {
        "content"
    }

    async fn list(&self) -> Result<Vec<Kept>, PlaceError> {
        let blobs = self.0.clone();
        let listed = blocking(move || blobs.list_touched().map_err(failed)).await?;
        let kept = |one: shipway_fetch::TouchedBlob| Kept {
            name: one.blob.digest.to_string(),
            size_bytes: one.blob.size_bytes,
            touched_at: micros(one.touched_at),
        };
        Ok(listed.into_iter().map(kept).collect())
    }

    async fn remove(&self, name: &str, untouched_since: Micros) -> Result<bool, PlaceError> {
        let (blobs, digest) = (self.0.clone(), digest(name)?);
        blocking(move || blobs.remove_untouched(&digest, time(untouched_since)).map_err(failed)).await
    }
}

/// Unpacked trees, of either kind. Their sizes are found by walking them, once.
#[derive(Debug)]
struct Trees {
    kind: Kind,
    bytes: Mutex<BTreeMap<Digest, u64>>,
}

/// Where trees are.
#[derive(Debug, Clone)]
enum Kind {
    Layers(Arc<Layers>),
    HostImages(Arc<HostImages>),
}

impl Kind {
    fn list(&self) -> Result<Vec<Digest>, PlaceError> {
        match self {
            Self::Layers(layers) => layers.list().map_err(failed),
            Self::HostImages(images) => images.list().map_err(failed),
        }
    }

    fn touched_at(&self, digest: &Digest) -> Option<SystemTime> {
        match self {
            Self::Layers(layers) => layers.touched_at(digest).ok(),
            Self::HostImages(images) => images.touched_at(digest).ok(),
        }
    }

    fn bytes(&self, digest: &Digest) -> u64 {
        match self {
            Self::Layers(layers) => layers.bytes(digest),
            Self::HostImages(images) => images.bytes(digest),
        }
    }
}

impl Trees {
    fn known(&self) -> BTreeMap<Digest, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Place for Trees {
    fn word(&self) -> &'static str {
        match self.kind {
            Kind::Layers(_) => "images",
            Kind::HostImages(_) => "host_images",
        }
    }

    async fn list(&self) -> Result<Vec<Kept>, PlaceError> {
        let (kind, known) = (self.kind.clone(), self.known());
        let listed = blocking(move || {
            // One that has gone since is not listed.
            let there = kind.list()?.into_iter().filter_map(|digest| Some((kind.touched_at(&digest)?, digest)));
            let sized = there.map(|(touched, digest)| {
                let bytes = known.get(&digest).copied().unwrap_or_else(|| kind.bytes(&digest));
                (digest, bytes, touched)
            });
            Ok(sized.collect::<Vec<_>>())
        })
        .await?;
        let sizes = listed.iter().map(|(digest, bytes, _)| (digest.clone(), *bytes)).collect();
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
        let kept = |(digest, size_bytes, touched): (Digest, u64, SystemTime)| Kept {
            name: digest.to_string(),
            size_bytes,
            touched_at: micros(touched),
        };
        Ok(listed.into_iter().map(kept).collect())
    }

    /// The present host image is what the next deploy will be on.
    async fn needed_here(&self) -> Result<BTreeSet<String>, PlaceError> {
        Ok(match &self.kind {
            Kind::Layers(_) => BTreeSet::new(),
            Kind::HostImages(images) => images.last_current().iter().map(ToString::to_string).collect(),
        })
    }

    async fn remove(&self, name: &str, untouched_since: Micros) -> Result<bool, PlaceError> {
        let (digest, since) = (digest(name)?, time(untouched_since));
        match &self.kind {
            Kind::Layers(layers) => layers.remove_untouched(&digest, since).await.map_err(failed),
            Kind::HostImages(images) => images.remove_untouched(&digest, since).await.map_err(failed),
        }
    }
}

/// Uploads that nobody goes on with are ended after this long.
const UPLOADS_AGE: Duration = Duration::from_secs(3 * 24 * 3600);

/// Listed at once.
const PAGE: usize = 1000;

/// What builds made, wherever that is kept: every process that can reach it looks after it.
#[derive(Debug)]
struct Made(Artifacts);

#[async_trait]
impl Place for Made {
    fn word(&self) -> &'static str {
        "artifacts"
    }

    async fn list(&self) -> Result<Vec<Kept>, PlaceError> {
        self.0.sweep(UPLOADS_AGE).await.map_err(failed)?;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.0.list(after.as_ref(), PAGE).await.map_err(failed)?;
            let kept = |one: shipway_artifacts::Kept| Kept {
                name: one.digest.to_string(),
                size_bytes: one.size_bytes,
                touched_at: micros(one.touched_at),
            };
            all.extend(page.kept.into_iter().map(kept));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn remove(&self, name: &str, untouched_since: Micros) -> Result<bool, PlaceError> {
        self.0.remove_unless_touched(&digest(name)?, time(untouched_since)).await.map_err(failed)
    }
}
