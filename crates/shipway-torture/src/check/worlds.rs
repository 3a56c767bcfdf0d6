//! I7: what runs is what the rows say, and nothing else is left anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::evidence::Evidence;
use crate::paper::State;

/// Checks every world against the rows, and the rows against the worlds.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut found = started_twice(evidence);
    found.extend(strays(evidence));
    found.extend(missing(evidence));
    for world in &evidence.worlds {
        found.extend(world.scraps.iter().map(|scrap| leak(format!("{}: {scrap} was left unfinished", world.name))));
    }
    found.extend(evidence.blob_scraps.iter().map(|scrap| leak(format!("unfinished content {scrap}"))));
    found
}

fn leak(what: String) -> Violation {
    Violation::new("I7", what)
}

/// An id is used once, in one world.
fn started_twice(evidence: &Evidence) -> Vec<Violation> {
    let mut starts: BTreeMap<String, u32> = BTreeMap::new();
    for entry in evidence.worlds.iter().flat_map(|world| &world.diary).filter(|entry| entry.started) {
        *starts.entry(entry.container.to_string()).or_default() += 1;
    }
    let twice = starts.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(id, times)| leak(format!("container {id} was started {times} times"))).collect()
}

/// Containers that no live row knows.
fn strays(evidence: &Evidence) -> Vec<Violation> {
    let live: BTreeSet<&str> = roles(evidence, "live").collect();
    let all = evidence.worlds.iter().flat_map(|world| world.papers.iter().map(move |paper| (&world.name, paper)));
    let stray = all.filter(|(_, paper)| !live.contains(paper.container.to_string().as_str()));
    stray
        .map(|(world, paper)| {
            leak(format!("{world}: container {} of {} is {:?} and nobody's", paper.container, paper.nonce, paper.state))
        })
        .collect()
}

/// Live rows whose container does not run; rows that nobody has dealt with; services that
/// should run and have no instance.
fn missing(evidence: &Evidence) -> Vec<Violation> {
    let papers = evidence.worlds.iter().flat_map(|world| &world.papers);
    let running: BTreeSet<String> =
        papers.filter(|paper| paper.state == State::Running).map(|paper| paper.container.to_string()).collect();
    let mut found: Vec<Violation> = roles(evidence, "live")
        .filter(|container| !running.contains(*container))
        .map(|container| leak(format!("the live container {container} does not run")))
        .collect();
    for role in ["candidate", "draining"] {
        found.extend(roles(evidence, role).map(|container| leak(format!("{container} is left {role}"))));
    }
    for service in evidence.rows.services.iter().filter(|service| service.state == "live") {
        let of = evidence.rows.instances.iter().filter(|row| row.service == service.id && row.role == "live");
        let releases: Vec<i64> = of.map(|row| row.release).collect();
        if releases.as_slice() != service.release.as_slice() {
            found.push(leak(format!("service {} is live with {releases:?} running", service.id)));
        }
    }
    found
}

fn roles<'a>(evidence: &'a Evidence, role: &'a str) -> impl Iterator<Item = &'a str> {
    evidence.rows.instances.iter().filter(move |row| row.role == role).map(|row| row.container.as_str())
}
