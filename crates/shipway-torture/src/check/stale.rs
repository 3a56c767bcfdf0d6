//! I3: a write that a worker believes in is in the history, under its own token.

use std::collections::BTreeSet;

use shipway_model::EventKind;

use super::Violation;
use crate::evidence::{Evidence, Rows};
use crate::part::journal::{Left, Line};

/// Checks what every worker believed.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let written = written(&evidence.rows);
    let lines = evidence.journals.iter().flat_map(|(part, lines)| lines.iter().map(move |line| (part, line)));
    let believed = lines.filter_map(|(part, line)| match line {
        Line::Left(left) => Some((part, left)),
        Line::Stale(_) => None,
    });
    believed.filter_map(|(part, left)| accepted(part, left, &written)).collect()
}

/// How many stale writes the parts say were rejected. Parts that were killed never said.
#[must_use]
pub fn rejected(evidence: &Evidence) -> u64 {
    let lines = evidence.journals.values().flatten();
    lines.map(|line| if let Line::Stale(count) = line { *count } else { 0 }).sum()
}

/// Ends and give-backs in the histories: task, token, change.
fn written(rows: &Rows) -> BTreeSet<(&str, i64, &str)> {
    let mut all = BTreeSet::new();
    for (subject, events) in &rows.events {
        let Some(task) = subject.strip_prefix("task/") else { continue };
        for event in events {
            if let EventKind::Task { change, token, .. } = &event.kind {
                all.insert((task, *token, change.as_str()));
            }
        }
    }
    all
}

fn accepted(part: &str, left: &Left, written: &BTreeSet<(&str, i64, &str)>) -> Option<Violation> {
    let as_what: &[&str] = match left.how.as_str() {
        "Done" => &["done"],
        "Failed" => &["failed"],
        // After the last attempt it ends.
        "GivenBack" => &["given_back", "failed"],
        _ => return None,
    };
    let is_there = as_what.iter().any(|change| written.contains(&(left.task.as_str(), left.token, *change)));
    (!is_there).then(|| {
        let Left { task, token, how } = left;
        Violation::new("I3", format!("{part} ended task {task} ({how}) under token {token}, which the history has not"))
    })
}
