//! I6: what happened to a task is a path of its state machine, and to a service a
//! sequence without a gap.
//!
//! ```text
//! queued ──► claimed ──► done | failed
//!    │          ▲  │
//!    │          └──┘ given_back
//!    └──► done (its service is gone)
//! ```

use std::collections::BTreeMap;

use shipway_model::EventKind;

use super::Violation;
use crate::evidence::{Event, Evidence, Task};

/// Checks every history.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let rows = &evidence.rows;
    let mut found: Vec<Violation> = rows.events.iter().filter_map(|(subject, events)| gap(subject, events)).collect();
    let mut minted = BTreeMap::new();
    for task in &rows.tasks {
        let history = rows.history(&task.id);
        match walk(history) {
            Err(what) => found.push(violation(task, &what)),
            Ok(end) => found.extend(end.disagrees(task).map(|what| violation(task, &what))),
        }
        for token in claims(history) {
            if let Some(other) = minted.insert(token, task.id.as_str()) {
                found.push(violation(task, &format!("its token {token} is also one of {other}")));
            }
        }
    }
    found
}

fn violation(task: &Task, what: &str) -> Violation {
    Violation::new("I6", format!("{} {}: {what}", task.kind, task.id))
}

fn gap(subject: &str, events: &[Event]) -> Option<Violation> {
    let wrong = events.iter().zip(1..).find(|(event, number)| event.seq != *number);
    wrong
        .map(|(event, number)| Violation::new("I6", format!("{subject}: event {} where {number} should be", event.seq)))
}

fn claims(history: &[Event]) -> impl Iterator<Item = i64> {
    history.iter().filter_map(|event| match &event.kind {
        EventKind::Task { change, token, .. } if change == "claimed" => Some(*token),
        _ => None,
    })
}

/// Where a history has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct At {
    state: &'static str,
    token: i64,
    attempt: u32,
}

impl At {
    fn disagrees(&self, task: &Task) -> Option<String> {
        let same =
            self.state == task.state && self.token == task.lease_token && i64::from(self.attempt) == task.attempt;
        (!same).then(|| {
            format!(
                "its history ends {} (token {}, attempt {}), its row says {} ({}, {})",
                self.state, self.token, self.attempt, task.state, task.lease_token, task.attempt
            )
        })
    }
}

fn walk(history: &[Event]) -> Result<At, String> {
    let mut at = At { state: "", token: 0, attempt: 0 };
    for event in history {
        let EventKind::Task { change, token, attempt, .. } = &event.kind else {
            return Err(format!("event {} is none of a task's", event.seq));
        };
        at = step(&at, change, *token, *attempt)
            .ok_or_else(|| format!("from {at:?} it went to {change} (token {token}, attempt {attempt})"))?;
    }
    Ok(at)
}

/// Where a step leads; `None` when there is no such arrow.
fn step(at: &At, change: &str, token: i64, attempt: u32) -> Option<At> {
    let same = token == at.token;
    let state = match (at.state, change) {
        ("", "queued") if token == 0 && attempt == 0 => "queued",
        ("queued", "claimed") if token > at.token && attempt == at.attempt + 1 => "running",
        // Charged, or not.
        ("running", "given_back") if same && (attempt == at.attempt || attempt + 1 == at.attempt) => "queued",
        ("running", "done") if same && attempt == at.attempt => "done",
        ("running", "failed") if same && attempt == at.attempt => "failed",
        ("queued", "done") if same && attempt == at.attempt => "done",
        _ => return None,
    };
    Some(At { state, token, attempt })
}
