//! I2 and I9: each deploy has made at most one release live, in the very transaction that
//! ended it; and what was deleted stays away.
//!
//! Every deploy of the tester's has content of its own, so that none may find that what it
//! wants is live already: one that does has been published before without being ended.

use std::collections::BTreeMap;

use shipway_model::{EventKind, Outcome, ReleaseSpec};

use super::Violation;
use crate::evidence::{Event, Evidence, Release, Task};
use crate::paper::NONCE;

/// Checks every deploy, every service and every timeline.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let releases = by_nonce(&evidence.rows.releases);
    let deploys = evidence.rows.tasks.iter().filter(|task| task.kind == "deploy");
    let mut found: Vec<Violation> = deploys.filter_map(|task| deploy(task, &releases, evidence)).collect();
    found.extend(releases.iter().filter_map(|(nonce, releases)| twice(nonce, releases)));
    found.extend(evidence.rows.services.iter().filter_map(|service| one_live(&service.id, evidence)));
    let timelines = evidence.rows.events.iter().filter(|(subject, _)| subject.starts_with("service/"));
    found.extend(timelines.filter_map(|(subject, events)| timeline(subject, events)));
    found
}

fn by_nonce(releases: &[Release]) -> BTreeMap<String, Vec<&Release>> {
    let mut found: BTreeMap<String, Vec<&Release>> = BTreeMap::new();
    for release in releases {
        let spec: Option<ReleaseSpec> = serde_json::from_str(&release.spec).ok();
        if let Some(nonce) = spec.and_then(|spec| spec.env.get(NONCE).cloned()) {
            found.entry(nonce).or_default().push(release);
        }
    }
    found
}

fn was_live(release: &Release) -> bool {
    matches!(release.state.as_str(), "live" | "retired")
}

fn deploy(task: &Task, releases: &BTreeMap<String, Vec<&Release>>, evidence: &Evidence) -> Option<Violation> {
    let say = |what: String| Some(Violation::new("I2", format!("deploy {} ({}): {what}", task.actor, task.id)));
    let made: &[&Release] = releases.get(&task.actor).map_or(&[], Vec::as_slice);
    match task.outcome()? {
        Outcome::Done { changed: false, .. } => {
            say("found its own release live: published, and not ended with it".to_owned())
        }
        Outcome::Done { release, .. } => {
            // A service that was deleted took its releases along.
            let there = evidence.rows.services.iter().any(|service| service.id == task.subject);
            let live = made.iter().any(|one| was_live(one) && Some(one.number) == release.map(i64::from));
            (there && !live).then(|| say(format!("done, and its release {release:?} was never live")))?
        }
        Outcome::Failed(_) => {
            made.iter().any(|one| was_live(one)).then(|| say("failed, and its release is live".to_owned()))?
        }
    }
}

fn twice(nonce: &str, releases: &[&Release]) -> Option<Violation> {
    let live: Vec<i64> = releases.iter().filter(|release| was_live(release)).map(|release| release.number).collect();
    (live.len() > 1).then(|| Violation::new("I2", format!("deploy {nonce} was published as releases {live:?}")))
}

fn one_live(service: &str, evidence: &Evidence) -> Option<Violation> {
    let of = evidence.rows.releases.iter().filter(|release| release.service == service);
    let live: Vec<i64> = of.filter(|release| release.state == "live").map(|release| release.number).collect();
    let row = evidence.rows.services.iter().find(|row| row.id == service)?;
    let agrees = match row.state.as_str() {
        "live" | "unhealthy" => live.len() == 1 && live.first() == row.release.as_ref(),
        _ => live.len() <= 1,
    };
    (!agrees).then(|| {
        let (state, release) = (&row.state, row.release);
        Violation::new("I2", format!("service {service} is {state} with release {release:?}, live are {live:?}"))
    })
}

/// A release becomes live in one breath with the end of its change, and nothing happens
/// to what was deleted.
fn timeline(subject: &str, events: &[Event]) -> Option<Violation> {
    let say = |of, what: String| Some(Violation::new(of, format!("{subject}: {what}")));
    for (place, event) in events.iter().enumerate() {
        let mut after = events[place + 1..].iter().map(|event| &event.kind);
        match &event.kind {
            EventKind::Deleted => {
                let live = after.find(|kind| matches!(kind, EventKind::ReleaseLive { .. }));
                if let Some(kind) = live {
                    return say("I9", format!("deleted, and then {kind:?}"));
                }
            }
            EventKind::ReleaseLive { release } => {
                let next = after.find(|kind| !matches!(kind, EventKind::ReleaseFailed { .. }));
                if !matches!(next, Some(EventKind::ChangeDone { .. })) {
                    return say("I2", format!("release {release} became live, and next came {next:?}"));
                }
            }
            _ => {}
        }
    }
    None
}
