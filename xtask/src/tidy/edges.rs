//! Which crate may use which: the direction of the house.
//!
//! `shipway` → roles and cli → hands → formats → thought. A crate may use those
//! listed on its line and nothing else of ours; a crate without a line fails.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

use crate::sh;

/// Crate, and which of ours it may use (without the `shipway-`; `static` and `shim` are the embedded programs).
const MAY_USE: &[(&str, &[&str])] = &[
    // Thought.
    ("stdx", &[]),
    ("model", &[]),
    ("plan", &["model"]),
    // Formats.
    ("api-types", &[]),
    ("oci", &["model"]),
    // Hands.
    ("shim", &[]),
    ("runner", &[]),
    ("static", &[]),
    ("egress", &["stdx"]),
    ("engine", &["egress", "model", "shim", "static", "stdx"]),
    ("driver", &["model"]),
    ("driver-embedded", &["driver", "engine", "gofarm", "model", "oci", "static", "stdx"]),
    ("dial", &[]),
    ("fetch", &["dial", "model", "stdx"]),
    ("artifacts", &["dial", "model", "stdx"]),
    ("gofarm", &["gobuild", "model", "stdx"]),
    ("gobuild", &["dial"]),
    ("preempt", &["stdx"]),
    ("store", &["model"]),
    ("client", &["api-types"]),
    // Roles never depend on roles: they meet in the store.
    ("api", &["api-types", "artifacts", "fetch", "gobuild", "model", "oci", "store", "stdx"]),
    ("janitor", &["model", "store", "stdx"]),
    ("worker", &["artifacts", "driver", "fetch", "gobuild", "gofarm", "model", "plan", "preempt", "store", "stdx"]),
    ("proxy", &["model", "stdx"]),
    ("relay", &["api", "api-types", "model", "stdx"]),
    // Faces.
    // artifacts: `verify` checks signatures where no server is; whoever signs knows what is good.
    ("cli", &["api-types", "artifacts", "client", "oci", "stdx"]),
    ("testkit", &["api-types", "client"]),
    // Puts a worker together as `shipway` does, and a driver of its own under it.
    (
        "torture",
        &[
            "artifacts",
            "driver",
            "driver-embedded",
            "engine",
            "fetch",
            "gobuild",
            "gofarm",
            "model",
            "plan",
            "preempt",
            "stdx",
            "store",
            "testkit",
            "worker",
        ],
    ),
];

/// Outside crates that only the named crates of ours may use: one door to each thing.
const DOORS: &[(&str, &[&str])] = &[
    ("sqlx", &["shipway-store"]),
    ("axum", &["shipway-api"]),
    ("rustls", &["shipway-dial", "shipway-fetch", "shipway-relay"]),
    ("object_store", &["shipway-artifacts"]),
    ("tar", &["shipway-oci"]),
    ("clap", &["shipway-cli", "shipway", "shipway-torture", "xtask"]),
    ("hickory-proto", &["shipway-egress"]),
    ("serde_norway", &["shipway"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// Returns every edge that is not allowed.
pub(super) fn check() -> anyhow::Result<Vec<String>> {
    let json = sh::read("cargo", &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    let metadata: Metadata = serde_json::from_str(&json).context("cargo metadata changed its form")?;
    let rules: BTreeMap<String, &[&str]> =
        MAY_USE.iter().map(|(name, may)| (format!("shipway-{name}"), *may)).collect();
    Ok(metadata.packages.iter().flat_map(|package| findings(package, &rules)).collect())
}

fn findings(package: &Package, rules: &BTreeMap<String, &[&str]>) -> Vec<String> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
    let mut found: Vec<String> = normal.filter_map(|dependency| behind_a_door(package, dependency)).collect();
    let explicit_list = matches!(package.name.as_str(), "shipway" | "xtask");
    if explicit_list {
        return found;
    }
    let Some(may) = rules.get(&package.name) else {
        found.push(format!("{}: give it a line in xtask/src/tidy/edges.rs", package.name));
        return found;
    };
    let ours = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.is_none() && dependency.name.starts_with("shipway-"));
    let forbidden = ours.filter(|dependency| !may.contains(&&dependency.name["shipway-".len()..]));
    found.extend(forbidden.map(|dependency| {
        format!("{} must not use {}: see the direction in ARCHITECTURE.md", package.name, dependency.name)
    }));
    found
}

fn behind_a_door(package: &Package, dependency: &Dependency) -> Option<String> {
    let (_, keepers) = DOORS.iter().find(|(name, _)| *name == dependency.name)?;
    let allowed = keepers.contains(&package.name.as_str());
    (!allowed).then(|| {
        format!("{} must not use {}: that is the door of {}", package.name, dependency.name, keepers.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_uses_a_role_is_found() {
        let json = r#"{"name": "shipway-api", "dependencies": [
            {"name": "shipway-worker", "kind": null}, {"name": "shipway-store", "kind": null},
            {"name": "shipway-driver", "kind": "dev"}, {"name": "sqlx", "kind": null}]}"#;
        let package: Package = serde_json::from_str(json).unwrap();
        let may: &[&str] = &["store"];
        let found = findings(&package, &BTreeMap::from([("shipway-api".to_owned(), may)]));
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
