//! The packages asked for, and everything they depend on.

use std::collections::{BTreeMap, VecDeque};

use super::dpkg::status::{Package, Packages};
use super::{HostImageError, Wanted};

/// The packages an image is made of.
#[derive(Debug)]
pub(crate) struct Closure<'a> {
    /// By name.
    pub(crate) packages: BTreeMap<&'a str, &'a Package>,
    /// Asked for, but not installed and not required.
    pub(crate) absent: Vec<String>,
}

/// Follows Depends and Pre-Depends from the packages asked for.
///
/// Of alternatives the first that is installed is taken, under its own name or
/// through a package that provides it. A dependency that nothing meets is passed
/// over: dpkg let the package be installed, so it works on this host without.
pub(crate) fn close<'a>(installed: &'a Packages, wanted: &[Wanted]) -> Result<Closure<'a>, HostImageError> {
    let mut closure = Closure { packages: BTreeMap::new(), absent: Vec::new() };
    let mut waiting = VecDeque::new();
    for wanted in wanted {
        match first_installed(installed, &wanted.any_of, &closure) {
            Some(package) => waiting.push_back(package),
            None if wanted.is_required => {
                let name = wanted.any_of.first().cloned().unwrap_or_default();
                return Err(HostImageError::PackageMissing(name));
            }
            None => closure.absent.push(wanted.any_of.join(" | ")),
        }
    }
    while let Some(package) = waiting.pop_front() {
        if closure.packages.contains_key(package.name.as_str()) {
            continue;
        }
        if let Some(state) = &package.unfinished {
            return Err(HostImageError::PackageUnfinished { package: package.name.clone(), state: state.clone() });
        }
        closure.packages.insert(&package.name, package);
        let groups = package.depends.iter();
        waiting.extend(groups.filter_map(|group| first_installed(installed, group, &closure)));
    }
    Ok(closure)
}

/// The first name that is installed; of several providers one that is in already.
fn first_installed<'a>(installed: &'a Packages, names: &[String], closure: &Closure<'a>) -> Option<&'a Package> {
    names.iter().find_map(|name| {
        let is_in = |package: &&Package| closure.packages.contains_key(package.name.as_str());
        installed
            .find(name)
            .or_else(|| installed.providers(name).find(is_in))
            .or_else(|| installed.providers(name).next())
    })
}
