//! I4: the content of every release and of every deploy is there and is what its name says.

use std::collections::BTreeSet;

use shipway_model::task::{Content, DeployProgram};
use shipway_model::{ReleaseSpec, TaskPayload};

use super::Violation;
use crate::evidence::{Evidence, Task};

/// Checks all content.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let specs = evidence.rows.releases.iter().filter_map(|row| serde_json::from_str(&row.spec).ok());
    let mut needed: BTreeSet<String> =
        specs.filter_map(|spec: ReleaseSpec| Some(spec.source()?.digest.to_string())).collect();
    needed.extend(evidence.rows.tasks.iter().filter_map(uploaded));
    let missing = needed.iter().filter(|digest| !evidence.blobs.contains_key(*digest));
    let mut found: Vec<Violation> =
        missing.map(|digest| Violation::new("I4", format!("content {digest} is gone"))).collect();
    let damaged = evidence.blobs.iter().filter(|(_, good)| !**good);
    found.extend(damaged.map(|(digest, _)| Violation::new("I4", format!("content {digest} is something else"))));
    found
}

fn uploaded(task: &Task) -> Option<String> {
    match serde_json::from_str(&task.payload).ok()? {
        TaskPayload::Deploy(deploy) => match deploy.program {
            DeployProgram::Content { content: Content::Blob(source), .. } => Some(source.digest.to_string()),
            _ => None,
        },
        _ => None,
    }
}
