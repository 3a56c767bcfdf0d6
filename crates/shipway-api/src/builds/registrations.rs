//! What packages register, as far as it is known: found by looking through the source of their modules.
//!
//! ```text
//! asked for ─► memory ─► store (a document of a build that has it) ─► the module's archive, looked through
//!              (may go)   (as long as the build)                       (once for each module@version)
//! ```
//!
//! Nobody waits for it longer than a moment: what is not known yet is looked for in the background,
//! few at a time, each within a limit, and is there for the next who asks. The source is hostile: what is
//! read and kept of it is bounded (see `shipway_gobuild::scan`).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shipway_gobuild::request::{PLUGINS_MAX, Plugin};
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::scan::{self, Registered, ScanError};
use shipway_gobuild::{ModulePath, Platform, Query, Recipe, Request, Version};
use shipway_model::{BuildId, Document};
use shipway_store::Store;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Modules looked through at a time: each may take as much disk as its archive.
const AT_ONCE: usize = 2;
/// Modules that wait for it; further ones are looked for when somebody asks again.
const WAITING_MAX: usize = 256;
/// Longest for one, its download included.
const LIMIT: Duration = Duration::from_secs(60);
/// After this, what could not be had is tried again.
const FAILED_KEPT: Duration = Duration::from_secs(600);
/// How long the version of a package that the operator named is what it was.
const TOLD_KEPT: Duration = Duration::from_secs(3600);
/// Most modules remembered.
const KNOWN_MAX: usize = 1024;
/// Of one module: most registrations kept, letters of what their author says, and letters of all.
const KEPT_MAX: usize = 256;
const DOCS_CHARS_MAX: usize = 2_000;
const ALL_DOCS_CHARS_MAX: usize = 32_000;
/// Largest document of a build; beyond it, what is found is only remembered.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// What is wanted to be known.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// A module that a build has; the build keeps what is found.
    Built { module: ModulePath, version: Version, build: BuildId },
    /// A package that the operator named.
    Told(Plugin),
}

impl Wanted {
    fn key(&self) -> String {
        match self {
            Self::Built { module, version, .. } => format!("{module}@{version}"),
            // No module has a space in its name.
            Self::Told(plugin) => format!("told {}@{}", plugin.package, plugin.version),
        }
    }
}

/// What a module registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) module: String,
    pub(crate) registered: Vec<Registered>,
}

/// What it takes to look.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) store: Store,
    pub(crate) resolver: Resolver,
    pub(crate) recipe: Recipe,
    /// Where archives are kept meanwhile.
    pub(crate) scratch: PathBuf,
}

#[derive(Debug, Clone)]
enum Known {
    Looking,
    Found(Arc<Found>, Option<Instant>),
    Failed(Instant),
}

impl Known {
    fn holds(&self, now: Instant) -> bool {
        match self {
            Self::Looking | Self::Found(_, None) => true,
            Self::Found(_, Some(until)) | Self::Failed(until) => now < *until,
        }
    }
}

/// All that is known. What is looked for ends with it.
#[derive(Debug)]
pub(crate) struct Registrations {
    memory: Arc<Memory>,
    looking: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Memory {
    known: Mutex<HashMap<String, Known>>,
    /// Counts what was settled.
    settled: watch::Sender<u64>,
    places: Semaphore,
    /// Held while a build's document is read, added to and written.
    writing: tokio::sync::Mutex<()>,
}

impl Default for Registrations {
    fn default() -> Self {
        let memory = Memory {
            known: Mutex::default(),
            settled: watch::Sender::new(0),
            places: Semaphore::new(AT_ONCE),
            writing: tokio::sync::Mutex::default(),
        };
        Self { memory: Arc::new(memory), looking: Mutex::default() }
    }
}

impl Registrations {
    /// What is known of each, in their order, once all is known or `patience` is over.
    pub(crate) async fn of(&self, sources: &Sources, wanted: &[Wanted], patience: Duration) -> Vec<Option<Arc<Found>>> {
        let mut settled = self.memory.settled.subscribe();
        self.begin(sources, wanted);
        let keys: Vec<String> = wanted.iter().map(Wanted::key).collect();
        let all = async { while self.memory.is_looking(&keys) && settled.changed().await.is_ok() {} };
        // What is not known by then is not told of.
        drop(tokio::time::timeout(patience, all).await);
        let known = self.memory.lock();
        let found = |key: &String| match known.get(key) {
            Some(Known::Found(found, _)) => Some(Arc::clone(found)),
            _ => None,
        };
        keys.iter().map(found).collect()
    }

    fn begin(&self, sources: &Sources, wanted: &[Wanted]) {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        while looking.try_join_next().is_some() {}
        for one in wanted {
            if looking.len() < WAITING_MAX && self.memory.take(&one.key()) {
                let (memory, sources, one) = (Arc::clone(&self.memory), sources.clone(), one.clone());
                looking.spawn(async move { memory.look(&sources, &one).await });
            }
        }
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_looking(&self, keys: &[String]) -> bool {
        let known = self.lock();
        keys.iter().any(|key| matches!(known.get(key), Some(Known::Looking)))
    }

    /// Whether it is to be looked for by whoever asks.
    fn take(&self, key: &str) -> bool {
        let (now, mut known) = (Instant::now(), self.lock());
        if known.get(key).is_some_and(|known| known.holds(now)) {
            return false;
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.holds(now));
            let any = known.iter().find(|(_, known)| !matches!(known, Known::Looking)).map(|(key, _)| key.clone());
            any.filter(|_| known.len() >= KNOWN_MAX).map(|key| known.remove(&key));
        }
        known.insert(key.to_owned(), Known::Looking);
        true
    }

    async fn look(&self, sources: &Sources, wanted: &Wanted) {
        let key = wanted.key();
        let mut settling = Settling { memory: self, key: &key, known: None };
        // Never closed.
        let Ok(_place) = self.places.acquire().await else { return };
        match tokio::time::timeout(LIMIT, self.found(sources, wanted)).await {
            Ok(Ok(found)) => {
                let until = matches!(wanted, Wanted::Told(_)).then(|| Instant::now() + TOLD_KEPT);
                settling.known = Some(Known::Found(Arc::new(found), until));
            }
            Ok(Err(reason)) => tracing::info!(what = key, reason, "what it registers is not known"),
            Err(_) => tracing::info!(what = key, "what it registers is not known: looking for it took too long"),
        }
    }

    async fn found(&self, sources: &Sources, wanted: &Wanted) -> Result<Found, String> {
        match wanted {
            Wanted::Built { module, version, build } => {
                let key = wanted.key();
                let registered = match stored(&sources.store, *build).await.remove(&key) {
                    Some(registered) => registered,
                    None => {
                        let registered = scanned(sources, module, version).await?;
                        self.keep(&sources.store, *build, key, registered.clone()).await;
                        registered
                    }
                };
                Ok(Found { module: module.to_string(), registered })
            }
            Wanted::Told(plugin) => {
                let (module, version) = settled(sources, plugin).await?;
                let registered = scanned(sources, &module, &version).await?;
                Ok(Found { module: module.to_string(), registered })
            }
        }
    }

    /// Adds to what the build keeps. If it cannot be, it is looked for again after a restart.
    async fn keep(&self, store: &Store, build: BuildId, key: String, registered: Vec<Registered>) {
        let _writing = self.writing.lock().await;
        let mut all = stored(store, build).await;
        all.insert(key, registered);
        let text = serde_json::to_string(&all).unwrap_or_default();
        if !text.is_empty()
            && text.len() <= DOCUMENT_BYTES_MAX
            && let Err(error) = store.put_registrations(build, &text).await
        {
            tracing::info!(%error, build.id = %build, "what a module registers was not kept");
        }
    }
}

/// Puts down how a look ended, also when it ends in the middle.
struct Settling<'a> {
    memory: &'a Memory,
    key: &'a str,
    known: Option<Known>,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let known = self.known.take().unwrap_or_else(|| Known::Failed(Instant::now() + FAILED_KEPT));
        self.memory.lock().insert(self.key.to_owned(), known);
        self.memory.settled.send_modify(|count| *count += 1);
    }
}

/// What a build keeps; nothing when it keeps nothing, or nothing that can be read.
async fn stored(store: &Store, build: BuildId) -> BTreeMap<String, Vec<Registered>> {
    let text = store.find_document(build, Document::Registrations).await.ok().flatten();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Looks through a module. An archive that cannot be used registers nothing, and never will.
async fn scanned(sources: &Sources, module: &ModulePath, version: &Version) -> Result<Vec<Registered>, String> {
    let Some(registration) = &sources.recipe.registration else { return Ok(Vec::new()) };
    let folder = &sources.scratch;
    tokio::fs::create_dir_all(folder).await.map_err(|error| format!("{}: {error}", folder.display()))?;
    match scan::fetched(sources.resolver.proxies(), module, version, registration, folder).await {
        Ok(registered) => Ok(bounded(registered)),
        Err(ScanError::Archive(error)) => {
            tracing::info!(%module, %version, %error, "its archive cannot be looked through");
            Ok(Vec::new())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn bounded(mut registered: Vec<Registered>) -> Vec<Registered> {
    registered.retain(|one| one.id.is_some());
    registered.truncate(KEPT_MAX);
    let each = DOCS_CHARS_MAX.min(ALL_DOCS_CHARS_MAX / registered.len().max(1));
    for one in &mut registered {
        one.docs = one.docs.chars().take(each).collect();
    }
    registered
}

/// Which module at which version a package is now.
async fn settled(sources: &Sources, plugin: &Plugin) -> Result<(ModulePath, Version), String> {
    let platform = Platform::parse("linux", "amd64", None).map_err(|error| error.to_string())?;
    let plugins = vec![plugin.clone()];
    let request = Request::new(&sources.recipe, Query::Latest, plugins, Vec::new(), platform, PLUGINS_MAX);
    let request = request.map_err(|error| error.to_string())?;
    let resolved = sources.resolver.resolve(&sources.recipe, &request).await.map_err(|error| error.to_string())?;
    let settled = resolved.plugins.into_iter().next().ok_or("it is the program itself")?;
    Ok((settled.module, settled.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_module_is_bounded() {
        let one = |number: usize| Registered {
            package: "x.com/a".to_owned(),
            name: format!("T{number}"),
            id: number.is_multiple_of(2).then(|| format!("a.b{number}")),
            docs: "é".repeat(4_000),
        };
        let kept = bounded((0..1_000).map(one).collect());
        assert_eq!(kept.len(), KEPT_MAX);
        assert!(kept.iter().all(|one| one.id.is_some()));
        assert!(kept.iter().map(|one| one.docs.chars().count()).sum::<usize>() <= ALL_DOCS_CHARS_MAX);
        assert_eq!(bounded(vec![one(0)])[0].docs.chars().count(), DOCS_CHARS_MAX);
    }
}
