//! One database with a folder of its own, and the parts that work on it.

mod victim;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use shipway_store::next_version::Version;
use shipway_testkit::Postgres;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use victim::{Signal, Victim, Wrapping};

use crate::evidence::{self, Evidence, Places};
use crate::ledger::Ledger;
use crate::load;
use crate::paper::{Answers, PaperWorld};
use crate::part::farm::StorePlace;
use crate::part::{Config, Place, RECONCILE_EVERY};

/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long everything may take that was begun, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A file; one process.
    Sqlite,
    /// A server of the tester's own; any number.
    Postgres,
}

impl Base {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// One database, its worlds, its parts and its ledger.
#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    place: Place,
    /// Where content and worlds are.
    files: PathBuf,
    /// Length of a lease of all parts that are made after it was changed.
    pub lease: Duration,
    /// What was asked.
    pub ledger: Ledger,
    /// The rule left out, if one is.
    pub mutant: Option<String>,
    /// Where its builds are kept, and the key that they are signed with.
    pub kept: Option<(StorePlace, String)>,
    /// The version that has all that the database holds in the end.
    pub version: Version,
    worlds: BTreeMap<PathBuf, Answers>,
    journals: BTreeMap<String, PathBuf>,
}

impl Scene {
    /// Makes a scene on a database of its own of the tester's one server, or in a file.
    ///
    /// # Errors
    ///
    /// Any error of the file system or of the server.
    pub fn new(base: Base) -> anyhow::Result<Self> {
        match base {
            Base::Sqlite => Self::in_file(&std::env::temp_dir()),
            Base::Postgres => Self::on(Postgres::shared()),
        }
    }

    /// Makes a scene on a database of its own of this server.
    ///
    /// # Errors
    ///
    /// Any error of the file system or of the server.
    pub fn on(server: &Postgres) -> anyhow::Result<Self> {
        let url = server.url(&server.create(None)?);
        Self::at(&std::env::temp_dir(), |_| Place::Postgres(url))
    }

    /// Makes a scene on the database at this URL.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn at_url(url: &str) -> anyhow::Result<Self> {
        Self::at(&std::env::temp_dir(), |_| Place::Postgres(url.to_owned()))
    }

    /// Makes a scene on a copy of a database of this server, to which nobody is connected.
    ///
    /// # Errors
    ///
    /// Any error of the file system or of the server.
    pub fn copy_of(server: &Postgres, database: &str) -> anyhow::Result<Self> {
        let url = server.url(&server.create(Some(database))?);
        Self::at(&std::env::temp_dir(), |_| Place::Postgres(url))
    }

    /// Makes a scene below `folder`, with SQLite.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn in_file(folder: &Path) -> anyhow::Result<Self> {
        Self::at(folder, |folder| Place::Sqlite(folder.join("shipway.sqlite")))
    }

    /// Makes a scene whose database is in one folder, and its content and worlds in
    /// another; what the tester writes is on neither.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn on_disks(database: &Path, files: &Path) -> anyhow::Result<Self> {
        let scene = Self::at(&std::env::temp_dir(), |_| Place::Sqlite(database.join("shipway.sqlite")))?;
        Ok(Self { files: files.to_owned(), ..scene })
    }

    fn at(folder: &Path, place: impl FnOnce(&Path) -> Place) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("shipway-torture-").disable_cleanup(true).tempdir_in(folder)?;
        lock(&OPEN).push(folder.path().to_owned());
        let place = place(folder.path());
        let files = folder.path().to_owned();
        let ledger = Ledger::begin(&folder.path().join("ledger"))?;
        let (worlds, journals) = (BTreeMap::new(), BTreeMap::new());
        let (lease, version, kept) = (Duration::from_secs(1), Version::This, None);
        Ok(Self { folder, place, files, lease, ledger, mutant: None, kept, version, worlds, journals })
    }

    /// Where everything lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the state is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Describes a part whose engine is this world; several may share one.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn part(&mut self, name: &str, world: &str) -> anyhow::Result<Config> {
        let folder = self.folder().to_owned();
        let world_folder = self.files.join("worlds").join(world);
        if !self.worlds.contains_key(&world_folder) {
            let answers = Answers::of(&PaperWorld::open(&world_folder)?)?;
            self.worlds.insert(world_folder.clone(), answers);
        }
        let journal = folder.join(format!("{name}.journal"));
        self.journals.insert(name.to_owned(), journal.clone());
        Ok(Config {
            name: name.to_owned(),
            database: self.place.clone(),
            engine: Some(world.to_owned()),
            world: world_folder,
            blobs: self.files.join("blobs"),
            journal,
            farm: None,
            socket: folder.join(format!("{name}.sock")),
            works: true,
            concurrency: 8,
            lease_ms: millis(self.lease),
            deadline_ms: 60_000,
            drain_ms: 5_000,
            until_done: false,
            one_thread: false,
            mutant: self.mutant.clone(),
            version: Version::This,
            halt: None,
        })
    }

    /// How long until every worker has compared what runs with the rows. Where engines are
    /// several, a task that was lost in a first deploy may have been done by another; what it
    /// left goes when its own worker looks next.
    fn compared(&self) -> Duration {
        match self.place {
            Place::Sqlite(_) => Duration::ZERO,
            Place::Postgres(_) => 4 * RECONCILE_EVERY,
        }
    }

    /// Waits until the parts at these sockets have nothing left to do.
    ///
    /// # Errors
    ///
    /// They still have after [`PATIENCE`].
    pub async fn settle(&self, socket: &Path) -> anyhow::Result<()> {
        let mut calm = 0;
        let mut last = String::from("no answer");
        let begun = Instant::now();
        let mut calm_since = begun;
        while calm < 3 {
            if begun.elapsed() > PATIENCE {
                bail!("not everything was done within {} s: {last}", PATIENCE.as_secs());
            }
            sleep(LOOK_EVERY).await;
            match load::unsettled(socket).await {
                Ok((0, 0, 0)) if calm_since.elapsed() >= self.compared() => calm += 1,
                Ok((0, 0, 0)) => {}
                Ok((queued, running, unsettled)) => {
                    (calm, calm_since) = (0, Instant::now());
                    last = format!("{queued} queued, {running} running, {unsettled} instances unsettled");
                }
                Err(error) => {
                    calm = 0;
                    last = format!("{error:#}");
                }
            }
        }
        Ok(())
    }

    /// Reads everything there is. Nobody may be at work any more.
    ///
    /// # Errors
    ///
    /// Something cannot be read.
    pub async fn evidence(&self) -> anyhow::Result<Evidence> {
        let folder = self.folder();
        let places = Places {
            database: self.place.clone(),
            version: self.version,
            worlds: self.worlds.keys().cloned().collect(),
            blobs: self.files.join("blobs"),
            journals: self.journals.clone(),
            kept: self.kept.clone(),
            export: folder.join("export.jsonl"),
        };
        evidence::gather(&places, self.ledger.all()).await
    }

    /// Keeps the folder for people to look at, and says where it is. So is one that is
    /// merely dropped: somebody has given up in the middle.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        let folder = self.folder().to_owned();
        forget(&folder);
        folder
    }

    /// Removes everything: nobody will look.
    pub fn discard(mut self) {
        forget(self.folder.path());
        self.folder.disable_cleanup(false);
    }
}

/// Folders of scenes that nobody has kept or discarded.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn forget(folder: &Path) {
    lock(&OPEN).retain(|open| open != folder);
}

/// Where the evidence lies of what was given up in the middle.
#[must_use]
pub fn abandoned() -> Vec<PathBuf> {
    std::mem::take(&mut *lock(&OPEN))
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Looks until there is something, at most `limit`.
///
/// # Errors
///
/// There was nothing in time.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}
