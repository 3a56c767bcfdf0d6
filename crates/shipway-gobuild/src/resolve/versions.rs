//! From a query to one version of a module.

use super::Resolver;
use super::error::Cause;
use crate::gomod::GoMod;
use crate::goversion::GoVersion;
use crate::module::{ModulePath, Version, escape};
use crate::proxy::{Failure, Info, Proxies, ProxyError, Question};
use crate::request::Query;

/// Versions named in an error.
const KNOWN_SHOWN: usize = 5;

/// A version, and what its `go.mod` says.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) version: Version,
    pub(super) go_mod: GoMod,
}

impl Chosen {
    /// The module must call itself by one of these paths.
    pub(super) fn check_path(&self, accepted: &[&ModulePath]) -> Result<(), Cause> {
        match &self.go_mod.module {
            Some(declared) if accepted.iter().all(|path| path.as_str() != declared) => {
                Err(Cause::OtherPath { declared: crate::module::shown(declared) })
            }
            _ => Ok(()),
        }
    }

    /// The Go it wants.
    pub(super) fn go(&self) -> Option<GoVersion> {
        GoVersion::parse(self.go_mod.go.as_deref()?)
    }
}

impl Resolver {
    /// Settles `query` for this very path.
    pub(super) async fn settle(&self, module: &ModulePath, query: &Query) -> Result<Chosen, Cause> {
        let version = match query {
            Query::Exact(version) => self.exact(module, version).await?,
            Query::Revision(text) => self.revision(module, text).await?,
            Query::Latest | Query::Prefix(_) => self.highest_allowed(module, query).await?,
        };
        let go_mod = go_mod(&self.proxies, module, &version).await?;
        Ok(Chosen { version, go_mod })
    }

    async fn exact(&self, module: &ModulePath, wanted: &Version) -> Result<Version, Cause> {
        let fits = wanted.check_major(module);
        // A path without a major may still have `v2.0.0+incompatible` under that name.
        if !module.major().is_empty() {
            fits.clone()?;
        }
        let info = match (self.proxies.info(module, &escape::version(wanted)).await, fits) {
            (Ok(info), _) => info,
            (Err(error), Err(major)) if error.failure == Failure::NotFound => return Err(major.into()),
            (Err(error), _) => return Err(self.not_there(module, wanted.as_str(), error).await),
        };
        let incompatible = format!("{wanted}+incompatible");
        if info.version != *wanted && info.version.as_str() != incompatible {
            return Err(other_version(module, wanted.as_str(), &info));
        }
        info.version.check_major(module)?;
        self.check_retracted(module, &info.version).await?;
        Ok(info.version)
    }

    async fn revision(&self, module: &ModulePath, text: &str) -> Result<Version, Cause> {
        let info = match self.proxies.info(module, &escape::query(text)?).await {
            Ok(info) => info,
            Err(error) => return Err(self.not_there(module, text, error).await),
        };
        info.version.check_major(module)?;
        self.check_retracted(module, &info.version).await?;
        Ok(info.version)
    }

    /// Says which versions there are instead of one that is not, where the module is there.
    async fn not_there(&self, module: &ModulePath, asked: &str, error: ProxyError) -> Cause {
        if error.failure != Failure::NotFound {
            return error.into();
        }
        match self.proxies.list(module).await {
            Ok(listed) if !listed.is_empty() => Cause::NoVersion {
                module: module.to_string(),
                query: asked.to_owned(),
                known: known(&listed),
                tried: error.tried,
            },
            _ => error.into(),
        }
    }

    /// Refuses a version that its author has taken back. A module without a list has taken
    /// nothing back that anybody could know of.
    async fn check_retracted(&self, module: &ModulePath, version: &Version) -> Result<(), Cause> {
        let listed = match self.proxies.list(module).await {
            Ok(listed) => listed,
            Err(error) if error.failure == Failure::Unavailable => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        let listing = Listing::new(&self.proxies, module, listed);
        match listing.retractions().await?.retraction(version) {
            Some(range) => Err(retracted(module, version, &range.rationale)),
            None => Ok(()),
        }
    }

    async fn highest_allowed(&self, module: &ModulePath, query: &Query) -> Result<Version, Cause> {
        let listed = self.proxies.list(module).await?;
        let listing = Listing::new(&self.proxies, module, listed);
        let retractions = listing.retractions().await?;
        let allowed: Vec<Version> = listing.fitting(query).filter(|it| retractions.retraction(it).is_none()).collect();
        if let Some(found) = highest(listing.without_incompatible(allowed, query).await?) {
            self.confirm(module, &found).await?;
            return Ok(found);
        }
        if matches!(query, Query::Latest)
            && let Some(latest) = listing.latest().await?
        {
            return match retractions.retraction(&latest) {
                Some(range) => Err(retracted(module, &latest, &range.rationale)),
                None => Ok(latest),
            };
        }
        Err(listing.nothing(query, &retractions))
    }

    /// A listed version that is not there is a proxy's lie, found out before it costs a build.
    async fn confirm(&self, module: &ModulePath, version: &Version) -> Result<(), Cause> {
        let info = self.proxies.info(module, &escape::version(version)).await?;
        if info.version == *version { Ok(()) } else { Err(other_version(module, version.as_str(), &info)) }
    }
}

/// What a proxy lists of a module.
struct Listing<'a> {
    proxies: &'a Proxies,
    module: &'a ModulePath,
    listed: Vec<Version>,
    /// Commits that are in the list all the same.
    commits: Vec<Version>,
}

impl<'a> Listing<'a> {
    fn new(proxies: &'a Proxies, module: &'a ModulePath, all: Vec<Version>) -> Self {
        let (commits, listed) = all.into_iter().partition(Version::is_pseudo);
        Self { proxies, module, listed, commits }
    }

    /// Versions that the query could mean, lowest first.
    fn fitting<'q>(&'q self, query: &'q Query) -> impl Iterator<Item = Version> + 'q {
        let fits = move |version: &&Version| {
            version.check_major(self.module).is_ok()
                && match query {
                    Query::Prefix(prefix) => version.matches_prefix(prefix),
                    _ => true,
                }
        };
        self.listed.iter().filter(fits).cloned()
    }

    /// What is taken back, as the latest version says, whether it takes back itself or not.
    async fn retractions(&self) -> Result<GoMod, Cause> {
        let all: Vec<Version> = self.fitting(&Query::Latest).collect();
        let latest = match highest(self.without_incompatible(all, &Query::Latest).await?) {
            Some(version) => Some(version),
            None => self.latest().await?,
        };
        match latest {
            Some(version) => Ok(go_mod(self.proxies, self.module, &version).await?),
            None => Ok(GoMod::default()),
        }
    }

    /// Leaves out `+incompatible` versions where a lower one has a `go.mod`: who has modules
    /// means them. A query for a major that the path has not wants just those.
    async fn without_incompatible(&self, mut versions: Vec<Version>, query: &Query) -> Result<Vec<Version>, Cause> {
        let wanted = super::major(query).is_some_and(|major| major > 1 && self.module.major().is_empty());
        let Some(first) = versions.iter().position(Version::is_incompatible).filter(|_| !wanted) else {
            return Ok(versions);
        };
        let Some(compatible) = first.checked_sub(1).map(|at| &versions[at]) else {
            return Ok(versions);
        };
        let text = self.proxies.go_mod(self.module, compatible).await?;
        if !GoMod::is_made_up(&String::from_utf8_lossy(&text), self.module) {
            versions.truncate(first);
        }
        Ok(versions)
    }

    /// What the proxy takes for the latest, where it has an opinion.
    async fn latest(&self) -> Result<Option<Version>, Cause> {
        match self.proxies.latest(self.module).await {
            Ok(info) => {
                info.version.check_major(self.module)?;
                Ok(Some(info.version))
            }
            Err(error) if error.failure == Failure::NotFound => Ok(self.youngest_commit()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the go command takes for the latest where the proxy has no opinion.
    fn youngest_commit(&self) -> Option<Version> {
        self.commits.iter().max_by_key(|version| version.pseudo_time()).cloned()
    }

    fn nothing(&self, query: &Query, retractions: &GoMod) -> Cause {
        let fitting: Vec<Version> = self.fitting(query).collect();
        let taken_back = fitting.last().and_then(|it| Some((it, retractions.retraction(it)?)));
        if let Some((version, range)) = taken_back {
            return retracted(self.module, version, &range.rationale);
        }
        Cause::NoVersion {
            module: self.module.to_string(),
            query: query.to_string(),
            known: known(&self.listed),
            tried: Vec::new(),
        }
    }
}

/// The highest of some versions, as text.
fn known(listed: &[Version]) -> String {
    let shown: Vec<&str> = listed.iter().rev().take(KNOWN_SHOWN).map(Version::as_str).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// The highest release, else the highest pre-release, of versions in order.
fn highest(versions: Vec<Version>) -> Option<Version> {
    let release = versions.iter().rfind(|version| !version.is_prerelease());
    release.or_else(|| versions.last()).cloned()
}

async fn go_mod(proxies: &Proxies, module: &ModulePath, version: &Version) -> Result<GoMod, ProxyError> {
    let text = proxies.go_mod(module, version).await?;
    Ok(GoMod::parse(&String::from_utf8_lossy(&text)))
}

fn retracted(module: &ModulePath, version: &Version, rationale: &str) -> Cause {
    Cause::Retracted { module: module.to_string(), version: version.to_string(), rationale: rationale.to_owned() }
}

fn other_version(module: &ModulePath, asked: &str, info: &Info) -> Cause {
    let answer = format!("asked for {asked}, it answers {}", info.version);
    Cause::Proxy(ProxyError::broken(Question::info(module, asked), &info.proxy, answer))
}
