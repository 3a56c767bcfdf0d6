//! Everything that is there when a run is over, read once, as plain data for the checker.
//!
//! The database is read through the store's own export, which both have in the same form;
//! the file stays beside the ledger when something was wrong.

mod kept;
mod rows;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use shipway_fetch::Blobs;
use shipway_store::next_version::{self, Version};
use shipway_store::{Migrate, Store};

pub use rows::{Artifact, Build, Document, Event, Instance, Release, Rows, Service, Task};

use crate::ledger::Asked;
use crate::paper::{Entry, Paper, PaperWorld};
use crate::part::Place;
use crate::part::farm::StorePlace;
use crate::part::journal::{self, Line};

/// A world, as it was found.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Its folder's name, for people.
    pub name: String,
    /// What is in it.
    pub papers: Vec<Paper>,
    /// What ever was.
    pub diary: Vec<Entry>,
    /// What is no container.
    pub scraps: Vec<String>,
}

/// Everything that a checker looks at.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What was asked.
    pub asked: Vec<Asked>,
    /// The database.
    pub rows: Rows,
    /// What the workers believed, by part.
    pub journals: BTreeMap<String, Vec<Line>>,
    /// The worlds.
    pub worlds: Vec<World>,
    /// Content by its digest, and whether it is what that says.
    pub blobs: BTreeMap<String, bool>,
    /// By digest, whether what a build has made is there, whole, and signed; or why not.
    pub kept: BTreeMap<String, Result<(), String>>,
    /// Content that was begun and is nobody's any more.
    pub blob_scraps: Vec<String>,
}

/// Where evidence lies.
#[derive(Debug, Clone)]
pub struct Places {
    /// The database.
    pub database: Place,
    /// The version that knows all of it.
    pub version: Version,
    /// Folders of worlds.
    pub worlds: Vec<PathBuf>,
    /// The folder of content.
    pub blobs: PathBuf,
    /// Journals, by part.
    pub journals: BTreeMap<String, PathBuf>,
    /// Where builds are kept, if there are any, and the key that they are signed with.
    pub kept: Option<(StorePlace, String)>,
    /// Where the export goes.
    pub export: PathBuf,
}

/// Reads all of it. Nobody may be at work.
///
/// # Errors
///
/// Something cannot be read.
pub async fn gather(places: &Places, asked: Vec<Asked>) -> anyhow::Result<Evidence> {
    // In that version's words, from the first to the last.
    next_version::be(places.version);
    let rows = exported(places).await;
    next_version::be(Version::This);
    let (rows, blobs) = (rows?, Blobs::open(&places.blobs)?);
    let kept = match &places.kept {
        Some((store, key)) => kept::look(store, key, &rows).await?,
        None => BTreeMap::new(),
    };
    Ok(Evidence {
        asked,
        rows,
        kept,
        journals: journals(&places.journals)?,
        worlds: places.worlds.iter().map(|folder| world(folder)).collect::<anyhow::Result<_>>()?,
        blobs: verified(&blobs)?,
        blob_scraps: names(&places.blobs.join("partial"))?,
    })
}

async fn exported(places: &Places) -> anyhow::Result<Rows> {
    let store = places.database.open(Migrate::Yes).await?;
    let rows = export(&store, &places.export).await;
    store.close().await;
    rows
}

async fn export(store: &Store, path: &Path) -> anyhow::Result<Rows> {
    let mut out = BufWriter::new(File::create(path)?);
    store.export(&mut out).await?;
    Rows::read(BufReader::new(File::open(path)?))
}

fn journals(paths: &BTreeMap<String, PathBuf>) -> anyhow::Result<BTreeMap<String, Vec<Line>>> {
    paths.iter().map(|(name, path)| Ok((name.clone(), journal::read(path)?))).collect()
}

fn world(folder: &Path) -> anyhow::Result<World> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let world = PaperWorld::open(folder)?;
    Ok(World { name, papers: world.papers()?, diary: world.diary()?, scraps: world.scraps()? })
}

fn verified(blobs: &Blobs) -> anyhow::Result<BTreeMap<String, bool>> {
    blobs.list()?.into_iter().map(|blob| Ok((blob.digest.to_string(), blobs.verify(&blob.digest)?))).collect()
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
