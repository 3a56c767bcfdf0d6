//! The worker with one of its rules left out, behind the feature `mutants`: what proves that
//! the torture suite would notice. Never in a release build; and nothing is left out until a
//! process says so ([`leave_out`]).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_artifacts::Stored;
use shipway_artifacts::measure::measure;

use crate::Farming;
use crate::trouble::Trouble;

/// The rule's word: a build is published when its bytes are where artifacts are kept.
pub const PUBLISH_BEFORE_KEPT: &str = "publish-before-kept";

static IS_LEFT_OUT: AtomicBool = AtomicBool::new(false);

/// Leaves the rule out, in this process, from now on.
pub fn leave_out() {
    IS_LEFT_OUT.store(true, Ordering::Relaxed);
}

pub(crate) fn is_left_out() -> bool {
    IS_LEFT_OUT.load(Ordering::Relaxed)
}

/// Sends the bytes on their way and does not wait for them.
pub(crate) async fn keep_later(farming: &Farming, file: &Path) -> Result<Stored, Trouble> {
    let measured = measure(file).await?;
    let (artifacts, stored) = (farming.artifacts.clone(), measured.stored.clone());
    tokio::spawn(async move {
        if let Err(error) = artifacts.put_measured(&measured).await {
            tracing::warn!(%error, "what was published is not kept");
        }
    });
    Ok(stored)
}
