//! I1, I2 and I4 of builds: each that was acknowledged is made, once, whole: its row, its
//! artifact, its texts and the end of its task came in one breath, and the bytes are there.

use std::collections::{BTreeMap, BTreeSet};

use shipway_model::{Document, EventKind};

use super::Violation;
use crate::evidence::{Artifact, Build, Evidence};

/// Texts of every artifact; an `OpenPGP` signature needs a key that nobody has here.
const TEXTS: [Document; 3] = [Document::Minisig, Document::Provenance, Document::Sbom];

/// Checks every request for a build, and every build.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let rows = &evidence.rows;
    let builds: BTreeMap<&str, &Build> = rows.builds.iter().map(|build| (build.id.as_str(), build)).collect();
    let asked = evidence.asked.iter().filter_map(|asked| asked.build.as_deref());
    let mut found: Vec<Violation> = asked.filter_map(|id| lost(id, builds.get(id).copied())).collect();
    found.extend(twice(&rows.builds));
    found.extend(rows.builds.iter().flat_map(|build| halves(build, evidence)));
    found.extend(rows.artifacts.iter().filter_map(|artifact| missing(artifact, evidence)));
    found
}

fn lost(id: &str, build: Option<&Build>) -> Option<Violation> {
    let say = |what: String| Some(Violation::new("I1", format!("build {id}: {what}")));
    match build {
        None => say("acknowledged, and not there".to_owned()),
        Some(build) if build.state == "success" => None,
        Some(Build { state, failure, .. }) => say(format!("it is {state}: {}", failure.as_deref().unwrap_or("-"))),
    }
}

/// Nobody asked for anything to be made anew.
fn twice(builds: &[Build]) -> Vec<Violation> {
    let mut keys = BTreeSet::new();
    let again = builds.iter().filter(|build| build.generation != 1 || !keys.insert(&build.build_key));
    again.map(|build| say(build, format!("generation {} of a key that was asked for once", build.generation))).collect()
}

fn say(build: &Build, what: String) -> Violation {
    Violation::new("I2", format!("build {}: {what}", build.id))
}

/// What a published build has, all of it; and one that is not, none of it.
fn halves(build: &Build, evidence: &Evidence) -> Vec<Violation> {
    let rows = &evidence.rows;
    let made: Vec<&Artifact> = rows.artifacts.iter().filter(|artifact| artifact.build == build.id).collect();
    let texts: BTreeSet<&str> =
        rows.documents.iter().filter(|text| text.build == build.id).map(|text| text.kind.as_str()).collect();
    let told: Vec<&str> = told(build, evidence);
    let ended = rows.tasks.iter().find(|task| build.task.as_ref() == Some(&task.id)).map(|task| task.state.as_str());
    let is_published = build.state == "success";
    let mut found = Vec::new();
    if is_published != (ended == Some("done")) {
        found.push(say(build, format!("it is {}, its task is {ended:?}", build.state)));
    }
    let digests: Vec<&str> = made.iter().map(|artifact| artifact.digest.as_str()).collect();
    if digests.len() != usize::from(is_published) || told != digests {
        found.push(say(build, format!("it is {} with artifacts {digests:?}, and told of {told:?}", build.state)));
    }
    let missing = TEXTS.iter().filter(|text| is_published && !texts.contains(text.word()));
    found.extend(missing.map(|text| say(build, format!("published without {}", text.word()))));
    if !is_published && !texts.is_empty() {
        found.push(say(build, format!("it is {} and has {texts:?}", build.state)));
    }
    found
}

/// Every digest that its timeline says it was published with.
fn told<'a>(build: &Build, evidence: &'a Evidence) -> Vec<&'a str> {
    let events = evidence.rows.events.get(&format!("build/{}", build.id)).map_or(&[][..], Vec::as_slice);
    let digest = |kind: &'a EventKind| match kind {
        EventKind::BuildSucceeded { digest, .. } => Some(digest.as_str()),
        _ => None,
    };
    events.iter().filter_map(|event| digest(&event.kind)).collect()
}

fn missing(artifact: &Artifact, evidence: &Evidence) -> Option<Violation> {
    let say = |what: &str| {
        Some(Violation::new("I4", format!("artifact {} of build {}: {what}", artifact.digest, artifact.build)))
    };
    match evidence.kept.get(&artifact.digest) {
        None => say("nobody has looked for it"),
        Some(Err(why)) => say(why),
        Some(Ok(())) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::good;
    use crate::evidence::{Document as Text, Event, Task};
    use crate::ledger::Asked;

    /// One deploy, and one build that was made.
    fn made() -> Evidence {
        let mut evidence = good();
        let id = || "b-1".to_owned();
        let asked =
            Asked { nonce: "n-b".to_owned(), kind: "build".to_owned(), poison: false, task: None, build: Some(id()) };
        evidence.asked.push(asked);
        let task = evidence.rows.tasks[0].clone();
        evidence.rows.tasks.push(Task { id: "t-1".to_owned(), kind: "build".to_owned(), ..task });
        let (build_key, state, task) = ("k".to_owned(), "success".to_owned(), Some("t-1".to_owned()));
        evidence.rows.builds = vec![Build { id: id(), build_key, generation: 1, state, failure: None, task }];
        evidence.rows.artifacts = vec![Artifact { build: id(), digest: "d".to_owned(), size_bytes: 1, chunks: None }];
        let text = |kind: Document| Text { build: id(), kind: kind.word().to_owned(), text: "x".to_owned() };
        evidence.rows.documents = TEXTS.into_iter().map(text).collect();
        let kind = EventKind::BuildSucceeded { digest: "d".to_owned(), size_bytes: 1 };
        evidence.rows.events.insert("build/b-1".to_owned(), vec![Event { seq: 1, at: 1, kind }]);
        evidence.kept.insert("d".to_owned(), Ok(()));
        evidence
    }

    #[track_caller]
    fn found(of: &str, what: &str, spoil: impl FnOnce(&mut Evidence)) {
        let mut evidence = made();
        assert_eq!(check(&evidence), []);
        spoil(&mut evidence);
        let found = check(&evidence);
        assert!(found.iter().any(|violation| violation.of == of && violation.what.contains(what)), "{found:?}");
    }

    #[test]
    fn what_was_acknowledged_is_made() {
        found("I1", "not there", |evidence| evidence.rows.builds.clear());
        found("I1", "it is failed", |evidence| evidence.rows.builds[0].state = "failed".to_owned());
    }

    #[test]
    fn a_key_is_made_once() {
        found("I2", "generation 2", |evidence| evidence.rows.builds[0].generation = 2);
        found("I2", "generation 1", |evidence| {
            let again = Build { id: "b-2".to_owned(), ..evidence.rows.builds[0].clone() };
            evidence.rows.builds.push(again);
        });
    }

    #[test]
    fn a_build_is_published_whole_or_not_at_all() {
        found("I2", "with artifacts []", |evidence| evidence.rows.artifacts.clear());
        found("I2", "without sbom", |evidence| drop(evidence.rows.documents.pop()));
        found("I2", "its task is", |evidence| evidence.rows.tasks[1].state = "running".to_owned());
        found("I2", "told of []", |evidence| evidence.rows.events.clear());
        found("I2", "it is pending and has", |evidence| evidence.rows.builds[0].state = "pending".to_owned());
    }

    #[test]
    fn what_is_published_is_there() {
        found("I4", "nobody", |evidence| evidence.kept.clear());
        found("I4", "gone", |evidence| drop(evidence.kept.insert("d".to_owned(), Err("gone".to_owned()))));
    }
}
