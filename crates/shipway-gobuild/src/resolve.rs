//! From what was asked to what it means: versions settled, packages found in their modules.
//!
//! `latest` is what the go command would take (tests compare): the highest release that its
//! author has not taken back, else the highest pre-release, else what the proxy says. A plugin
//! is a package; its module is the longest path above it that has the package at that version.
//! Only module proxies are asked, and nothing is compiled or unpacked: whether a package is in a
//! module is read from the list at its archive's end.
//!
//! Reading order: [`Resolver::resolve`], `versions` (a query to a version), `packages` (a
//! package to a module), `files` (what a module holds), [`ResolveError`].

mod error;
mod files;
mod packages;
mod versions;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

pub use error::{Cause, ResolveError, Verdict};

use crate::goversion::GoVersion;
use crate::module::ModulePath;
use crate::proxy::Proxies;
use crate::recipe::Recipe;
use crate::request::{Query, Replacement, Request};
use crate::resolved::{Resolved, Settled, SettledPlugin, SettledReplacement};
use versions::Chosen;

/// Plugins looked for at a time: enough to hide a proxy's distance, few enough for its patience.
const AT_ONCE: usize = 8;

/// Settles requests by asking proxies.
#[derive(Debug, Clone)]
pub struct Resolver {
    proxies: Proxies,
    /// For a whole request.
    limit: Duration,
}

impl Resolver {
    /// Asks these proxies, for at most so long for one request.
    #[must_use]
    pub const fn new(proxies: Proxies, limit: Duration) -> Self {
        Self { proxies, limit }
    }

    /// Whom it asks.
    #[must_use]
    pub const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Settles every word of a request.
    ///
    /// # Errors
    ///
    /// The first item, in the request's order, that could not be settled, with what was tried.
    pub async fn resolve(&self, recipe: &Recipe, request: &Request) -> Result<Resolved, ResolveError> {
        match tokio::time::timeout(self.limit, self.settle_all(recipe, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ResolveError { item: recipe.name.clone(), cause: Cause::TooSlow(self.limit) }),
        }
    }

    async fn settle_all(&self, recipe: &Recipe, request: &Request) -> Result<Resolved, ResolveError> {
        let (program, program_go) = self.program(recipe, &request.version).await?;
        let replaced: Vec<(SettledReplacement, Chosen)> =
            stream::iter(each(&request.replacements, |replacement| self.replacement(replacement).boxed()))
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
        let plugins: Vec<(SettledPlugin, Option<GoVersion>)> =
            stream::iter(each(&request.plugins, |plugin| self.plugin(plugin, &replaced).boxed()))
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
        let go = plugins.iter().filter_map(|(_, go)| go.clone()).chain(program_go).max();
        let mut plugins: Vec<SettledPlugin> = plugins.into_iter().map(|(plugin, _)| plugin).collect();
        plugins.sort();
        plugins.dedup();
        one_version_each(&plugins)?;
        Ok(Resolved {
            recipe: recipe.name.clone(),
            program,
            plugins,
            replacements: replaced.into_iter().map(|(replacement, _)| replacement).collect(),
            platform: request.platform.clone(),
            go: go.map(|go| go.to_string()).unwrap_or_default(),
        })
    }

    /// The program, at the path that its version's major asks for.
    async fn program(&self, recipe: &Recipe, query: &Query) -> Result<(Settled, Option<GoVersion>), ResolveError> {
        let path = match major(query) {
            Some(major) => recipe.module.with_major(major),
            None => Ok(recipe.module.clone()),
        };
        let item = format!("{}@{query}", recipe.module);
        let failed = |cause| ResolveError { item: item.clone(), cause };
        let module = path.map_err(|error| failed(Cause::Malformed(error)))?;
        let chosen = self.settle(&module, query).await.map_err(failed)?;
        chosen.check_path(&[&module]).map_err(failed)?;
        Ok((Settled { module, version: chosen.version.clone() }, chosen.go()))
    }

    async fn replacement(&self, wanted: &Replacement) -> Result<(SettledReplacement, Chosen), ResolveError> {
        let item = format!("{}={}@{}", wanted.old, wanted.new, wanted.version);
        let failed = |cause| ResolveError { item: item.clone(), cause };
        if let Some(version) = &wanted.old_version {
            version.check_major(&wanted.old).map_err(|error| failed(Cause::Malformed(error)))?;
        }
        let chosen = self.settle(&wanted.new, &wanted.version).await.map_err(failed)?;
        chosen.check_path(&[&wanted.new, &wanted.old]).map_err(failed)?;
        let settled = SettledReplacement {
            old: wanted.old.clone(),
            old_version: wanted.old_version.clone(),
            new: wanted.new.clone(),
            version: chosen.version.clone(),
        };
        Ok((settled, chosen))
    }
}

/// The work for each item, boxed: else the compiler cannot tell that the whole may be sent to
/// another thread, which every server wants to.
fn each<'a, I, T>(items: &'a [I], work: impl Fn(&'a I) -> BoxFuture<'a, T>) -> Vec<BoxFuture<'a, T>> {
    items.iter().map(work).collect()
}

/// The major version that a query names by itself.
fn major(query: &Query) -> Option<u64> {
    match query {
        Query::Exact(version) if version.is_incompatible() => None,
        Query::Exact(version) => Some(version.major()),
        Query::Prefix(text) => text.trim_start_matches('v').split('.').next()?.parse().ok(),
        Query::Latest | Query::Revision(_) => None,
    }
}

/// Two packages of one module must agree on its version.
fn one_version_each(plugins: &[SettledPlugin]) -> Result<(), ResolveError> {
    let mut seen: std::collections::BTreeMap<&ModulePath, &SettledPlugin> = std::collections::BTreeMap::new();
    for plugin in plugins {
        let first = *seen.entry(&plugin.module).or_insert(plugin);
        if first.version != plugin.version {
            let cause = Cause::Conflict {
                module: plugin.module.to_string(),
                first: format!("{} for {}", first.version, first.package),
                second: format!("{} for {}", plugin.version, plugin.package),
            };
            return Err(ResolveError { item: plugin.package.to_string(), cause });
        }
    }
    Ok(())
}
