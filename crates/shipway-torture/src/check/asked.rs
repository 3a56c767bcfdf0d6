//! I1 and I5: what was acknowledged is done, or failed for a reason that is the asker's;
//! poison is given up after its attempts, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use shipway_model::{FailureCode, Outcome};

use super::Violation;
use crate::evidence::{Evidence, Task};
use crate::ledger::Asked;

/// Checks every request, and every task.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let tasks: BTreeMap<&str, &Task> = evidence.rows.tasks.iter().map(|task| (task.id.as_str(), task)).collect();
    let mut found: Vec<Violation> = evidence.asked.iter().filter_map(|asked| lost(asked, &tasks)).collect();
    found.extend(evidence.rows.tasks.iter().filter_map(|task| bounded(task, evidence)));
    found.extend(unasked(evidence));
    found
}

fn lost(asked: &Asked, tasks: &BTreeMap<&str, &Task>) -> Option<Violation> {
    let id = asked.task.as_deref()?;
    let say = |what: String| Some(Violation::new("I1", format!("{} {} ({id}): {what}", asked.kind, asked.nonce)));
    let Some(task) = tasks.get(id) else {
        return say("acknowledged, and not there".to_owned());
    };
    if task.kind != asked.kind || task.actor != asked.nonce {
        return say(format!("it has become a {} of {}", task.kind, task.actor));
    }
    match task.outcome() {
        None => say(format!("it is {}, and nobody is left to work on it", task.state)),
        Some(Outcome::Failed(failure)) if !asked.poison && !is_the_askers(&asked.kind, failure.code) => {
            say(format!("failed, which is not the asker's fault: {}", failure.detail))
        }
        Some(_) => None,
    }
}

/// Failures that a request of the tester's own may meet on a platform without fault.
fn is_the_askers(kind: &str, code: FailureCode) -> bool {
    match kind {
        "rollback" => code == FailureCode::NoSuchRelease,
        "start" | "restart" => matches!(code, FailureCode::NothingToStart | FailureCode::NoSuchRelease),
        _ => false,
    }
}

fn bounded(task: &Task, evidence: &Evidence) -> Option<Violation> {
    let poison = evidence.asked.iter().any(|asked| asked.poison && asked.nonce == task.actor);
    let say = |what: String| Some(Violation::new("I5", format!("{} {}: {what}", task.kind, task.id)));
    if task.attempt > task.attempts_max {
        return say(format!("tried {} times of {}", task.attempt, task.attempts_max));
    }
    match (poison, task.given_up_at) {
        (true, None) => say(format!("poison is {} and not given up", task.state)),
        (false, Some(_)) => say(format!("given up: {}", task.outcome.as_deref().unwrap_or_default())),
        _ => None,
    }
}

/// Every task was asked for, by a request of the tester's or by the platform itself, and
/// none twice.
fn unasked(evidence: &Evidence) -> Vec<Violation> {
    let known: BTreeSet<&str> = evidence.asked.iter().map(|asked| asked.nonce.as_str()).collect();
    let mut seen = BTreeSet::new();
    let users = evidence.rows.tasks.iter().filter(|task| task.actor != "system");
    let wrong = users.filter(|task| !known.contains(task.actor.as_str()) || !seen.insert(task.actor.as_str()));
    wrong
        .map(|task| {
            Violation::new("I1", format!("{} {} was asked for twice or never: {}", task.kind, task.id, task.actor))
        })
        .collect()
}
