//! Images: what the API needs of the place where their trees are kept, and how an
//! upload becomes one.
//!
//! Like [`Live`](crate::Live) this is a contract of the API's own, [`Images`], which the
//! binary fills: the API knows no engine. An upload is kept in a nameless file first, so
//! that a slow client holds up nobody and one that goes away leaves nothing.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use shipway_api_types::{ImageImported, ProblemCode};
use shipway_model::{Digest, ProjectName};
use shipway_oci::ImageName;
use shipway_store::Image;

use crate::app::App;
use crate::reply::Reject;
use crate::{body, content, present};

/// An upload that stands still for so long is given up.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Longest one upload may take, whole: 4 GiB at 10 Mbit/s.
const WHOLE_TIME: Duration = Duration::from_secs(3600);

/// The place where the trees of images are kept.
#[async_trait]
pub trait Images: Debug + Send + Sync {
    /// Makes a nameless file, on a disk with room for an archive.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn spool(&self) -> io::Result<File>;

    /// Turns an archive, read from the file's place, into a tree. It stays for an hour at
    /// least, in which it gets its name; how long one without a name stays is not the API's
    /// business.
    ///
    /// # Errors
    ///
    /// [`ImageError`]; nothing is left behind then.
    async fn unpack(&self, archive: File) -> Result<Tree, ImageError>;

    /// Makes an archive of a distribution's packages, to be read from the file's place;
    /// `from` is `debian:bookworm-slim` and alike. Takes a minute or so.
    ///
    /// # Errors
    ///
    /// [`ImageError`]; nothing is left behind then.
    async fn bootstrap(&self, from: &str) -> Result<File, ImageError>;
}

/// A tree, and what was left out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its name.
    pub digest: Digest,
    /// Bytes of all its files.
    pub size_bytes: u64,
    /// Files, folders and symlinks.
    pub entries: u64,
    /// Devices and pipes below `dev/`.
    pub devices_left_out: u64,
    /// Entries that lost a set-id bit.
    pub set_id_dropped: u64,
    /// Extended attributes and access lists.
    pub attributes_dropped: u64,
}

/// Why there is no tree. Messages are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The archive broke a rule.
    #[error("{detail}")]
    Refused {
        /// The rule's word.
        rule: &'static str,
        /// The rule and the entry, in words.
        detail: String,
    },
    /// There is no such distribution to make an image of.
    #[error("{0}")]
    Unknown(String),
    /// What makes images is not installed.
    #[error("{what}")]
    NotInstalled {
        /// What is missing.
        what: String,
        /// How to get it.
        remedy: String,
    },
    /// What makes images has failed.
    #[error("{detail}")]
    Failed {
        /// How.
        detail: String,
        /// The last it said.
        said: Vec<String>,
    },
    /// The disk is full or read-only.
    #[error("{0}")]
    Unavailable(String),
}

impl From<ImageError> for Reject {
    fn from(error: ImageError) -> Self {
        let told = error.to_string();
        match error {
            ImageError::Refused { rule, detail } => {
                Self::new(ProblemCode::ArchiveRefused, told).field(format!("rule:{rule}"), detail)
            }
            ImageError::Unknown(detail) => body::wrong("#/from", detail),
            ImageError::NotInstalled { remedy, .. } => Self::new(ProblemCode::BootstrapUnavailable, told).hint(remedy),
            ImageError::Failed { said, .. } => {
                let mut reject = Self::new(ProblemCode::BootstrapFailed, told);
                reject.problem.log_tail = said;
                reject
            }
            ImageError::Unavailable(_) => unavailable(&told),
        }
    }
}

/// Reads an image's name in a path.
pub(crate) fn name(text: &str) -> Result<ImageName, Reject> {
    text.parse().map_err(|error| {
        let detail = format!("{error}");
        Reject::new(ProblemCode::InvalidName, detail.clone())
            .field("path:image", detail)
            .hint("for example: debian:bookworm-slim")
    })
}

/// Where a tree comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// An archive in a nameless file.
    Archive(File),
    /// A distribution's packages.
    Distribution(String),
}

impl Origin {
    /// The archive, and where it came from in words.
    async fn archive(self, app: &App) -> Result<(File, String), Reject> {
        match self {
            Self::Archive(archive) => Ok((archive, "an archive".to_owned())),
            Self::Distribution(from) => {
                let _turn = app.bootstrapping.lock().await;
                Ok((app.parts.images.bootstrap(&from).await?, format!("{from}, made of packages")))
            }
        }
    }
}

/// Makes a tree and gives it its name.
pub(crate) async fn import(
    app: &App,
    project: ProjectName,
    actor: &str,
    name: &ImageName,
    origin: Origin,
) -> Result<ImageImported, Reject> {
    let (archive, source) = origin.archive(app).await?;
    let mut copy = archive.try_clone().map_err(Reject::internal)?;
    let tree = app.parts.images.unpack(archive).await?;
    if app.parts.store.is_shared() {
        // Whoever will run it may be on another machine. It is there before its name is.
        copy.rewind().map_err(Reject::internal)?;
        content::deposit(app, &tree.digest, copy).await?;
    }
    let image = Image {
        project,
        name: name.to_string(),
        digest: tree.digest,
        size_bytes: tree.size_bytes,
        entries: tree.entries,
        source,
        created_at: 0,
    };
    let image = app.parts.store.put_image(&image, actor).await?;
    Ok(ImageImported {
        image: present::image(&image, app.parts.store.image_users(&image.digest).await?),
        devices_left_out: tree.devices_left_out,
        set_id_dropped: tree.set_id_dropped,
        attributes_dropped: tree.attributes_dropped,
    })
}

/// Forgets a name. Whoever looks after the trees finds out that one may go.
pub(crate) async fn remove(app: &App, project: &ProjectName, actor: &str, name: &ImageName) -> Result<(), Reject> {
    app.parts.store.remove_image(project, name.as_str(), actor).await?;
    Ok(())
}

/// Keeps an upload in a nameless file, and leaves the file at its beginning.
pub(crate) async fn receive(app: &App, headers: &HeaderMap, mut body: Body) -> Result<File, Reject> {
    let limit = app.config.image_bytes_max;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let received = match declared {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => match tokio::time::timeout(WHOLE_TIME, write(app, &mut body, limit)).await {
            Ok(written) => written,
            Err(_) => return Err(too_slow(WHOLE_TIME)),
        },
    };
    if received.is_err() {
        body::discard(headers, body).await;
    }
    received
}

async fn write(app: &App, body: &mut Body, limit: u64) -> Result<File, Reject> {
    let broken = |error: io::Error| unavailable(&format!("the upload cannot be kept: {error}"));
    let mut file = app.parts.images.spool().map_err(broken)?;
    let mut written = 0;
    loop {
        let frame = tokio::time::timeout(IDLE_TIME, body.frame()).await.map_err(|_| too_slow(IDLE_TIME))?;
        let bytes = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Err(Reject::new(ProblemCode::InvalidField, "the upload broke off")),
        };
        written += bytes.len() as u64;
        if written > limit {
            return Err(too_large(limit));
        }
        file = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file))
            .await
            .map_err(Reject::internal)?
            .map_err(broken)?;
    }
    file.rewind().map_err(broken)?;
    Ok(file)
}

fn too_large(limit: u64) -> Reject {
    Reject::new(ProblemCode::BodyTooLarge, format!("an archive has at most {limit} bytes"))
}

fn too_slow(limit: Duration) -> Reject {
    let detail = format!("the upload stood still or took longer than {} s", limit.as_secs());
    Reject::new(ProblemCode::Timeout, detail)
}

fn unavailable(detail: &str) -> Reject {
    tracing::warn!(detail, "an image cannot be kept");
    Reject::new(ProblemCode::StorageUnavailable, detail)
        .hint("make room, then try again")
        .header(header::RETRY_AFTER, "2")
}
