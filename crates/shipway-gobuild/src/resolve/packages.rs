//! From a package to the module that holds it.

use super::error::{Cause, ResolveError};
use super::versions::Chosen;
use super::{Resolver, major};
use crate::goversion::GoVersion;
use crate::module::{ImportPath, ModulePath, Version};
use crate::proxy::Failure;
use crate::request::{Plugin, Query};
use crate::resolved::{SettledPlugin, SettledReplacement};

/// A place where a package could be.
struct Candidate {
    module: ModulePath,
    package: ImportPath,
}

impl Resolver {
    /// Finds a plugin's module and version.
    pub(super) async fn plugin(
        &self,
        wanted: &Plugin,
        replaced: &[(SettledReplacement, Chosen)],
    ) -> Result<(SettledPlugin, Option<GoVersion>), ResolveError> {
        let failed = |cause| ResolveError { item: format!("{}@{}", wanted.package, wanted.version), cause };
        let by = replaced.iter().filter(|(it, _)| it.old_version.is_none() && wanted.package.inside(&it.old).is_some());
        // Of two that hold it the longer path does, as with modules.
        match by.max_by_key(|(it, _)| it.old.as_str().len()) {
            Some((replacement, chosen)) => self.replaced(wanted, replacement, chosen).await.map_err(failed),
            None => self.found(wanted).await.map_err(failed),
        }
    }

    /// A package beneath a replaced module: its version does not matter, and may not even exist.
    async fn replaced(
        &self,
        wanted: &Plugin,
        replacement: &SettledReplacement,
        chosen: &Chosen,
    ) -> Result<(SettledPlugin, Option<GoVersion>), Cause> {
        let directory = wanted.package.inside(&replacement.old).unwrap_or_default();
        if !self.holds(&replacement.new, &replacement.version, directory).await? {
            return Err(Cause::NoPackage { looked_in: format!("{}@{}", replacement.new, replacement.version) });
        }
        let plugin = SettledPlugin {
            package: wanted.package.clone(),
            module: replacement.old.clone(),
            version: no_version(&replacement.old)?,
        };
        Ok((plugin, chosen.go()))
    }

    async fn found(&self, wanted: &Plugin) -> Result<(SettledPlugin, Option<GoVersion>), Cause> {
        let mut looked_in = Vec::new();
        let mut failures = Vec::new();
        for candidate in candidates(&wanted.package, &wanted.version) {
            let chosen = match self.settle(&candidate.module, &wanted.version).await {
                Ok(chosen) => chosen,
                Err(cause) if a_shorter_path_may_do(&cause) => {
                    failures.push((candidate.module, cause));
                    continue;
                }
                Err(cause) => return Err(cause),
            };
            let directory = candidate.package.inside(&candidate.module).unwrap_or_default();
            if self.holds(&candidate.module, &chosen.version, directory).await? {
                chosen.check_path(&[&candidate.module])?;
                let go = chosen.go();
                let Candidate { module, package } = candidate;
                return Ok((SettledPlugin { package, module, version: chosen.version }, go));
            }
            looked_in.push(format!("{}@{}", candidate.module, chosen.version));
        }
        match telling(failures) {
            Some(cause) if looked_in.is_empty() || is_refusal(&cause) => Err(cause),
            _ => Err(Cause::NoPackage { looked_in: looked_in.join(", ") }),
        }
    }
}

/// The failure to report, of those of all paths: that of one that could well be a module
/// (`host/owner/name`) and was refused; else of one that is there, but not at that version; else
/// of one whose major is another; else of the longest.
fn telling(failures: Vec<(ModulePath, Cause)>) -> Option<Cause> {
    let tells = |(module, cause): &(ModulePath, Cause)| match cause {
        cause if is_refusal(cause) && module.as_str().split('/').count() > 2 => 0,
        Cause::NoVersion { .. } => 1,
        Cause::Malformed(_) => 2,
        _ => 3,
    };
    failures.into_iter().min_by_key(tells).map(|(_, cause)| cause)
}

/// Where to look, longest path first. A version of major 2 and up whose path does not say so is
/// looked for under the path that does, first.
fn candidates(package: &ImportPath, query: &Query) -> Vec<Candidate> {
    let wanted = major(query).filter(|major| *major > 1);
    let mut found = Vec::new();
    for module in package.candidates() {
        let moved = wanted.filter(|_| module.major().is_empty()).and_then(|major| moved(package, &module, major));
        found.extend(moved);
        found.push(Candidate { module, package: package.clone() });
    }
    found
}

fn moved(package: &ImportPath, module: &ModulePath, major: u64) -> Option<Candidate> {
    let to = module.with_major(major).ok()?;
    let path = match package.inside(module)? {
        "" => to.to_string(),
        directory => format!("{to}/{directory}"),
    };
    Some(Candidate { package: ImportPath::parse(&path).ok()?, module: to })
}

/// Whether a shorter path may still hold the package. Of a refused one too: a proxy that serves
/// only what it was told to refuses paths that are no modules, and what is served it may serve.
fn a_shorter_path_may_do(cause: &Cause) -> bool {
    match cause {
        Cause::Proxy(error) => matches!(error.failure, Failure::NotFound | Failure::Refused),
        Cause::NoVersion { .. } | Cause::Malformed(_) => true,
        _ => false,
    }
}

fn is_refusal(cause: &Cause) -> bool {
    matches!(cause, Cause::Proxy(error) if error.failure == Failure::Refused)
}

/// What the go command writes for a module of which only the replacement counts.
fn no_version(module: &ModulePath) -> Result<Version, Cause> {
    let number = module.major().trim_start_matches(['/', '.']).trim_end_matches("-unstable");
    let major = if number.is_empty() { "v0" } else { number };
    Ok(Version::parse(&format!("{major}.0.0-00010101000000-000000000000"))?)
}
