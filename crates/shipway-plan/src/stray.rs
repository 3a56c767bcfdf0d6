//! Containers of ours that no row knows.

use std::collections::BTreeSet;

use shipway_model::ContainerId;

/// Returns the containers that exist without a row. They serve nobody and are removed.
///
/// `seen` must have been listed *before* `rows` was read. A row is written before
/// its container is made and forgotten after it is gone; in this order a container
/// that is just being started always has its row here, in the other it may not.
#[must_use]
pub fn strays(seen: impl IntoIterator<Item = ContainerId>, rows: &BTreeSet<ContainerId>) -> Vec<ContainerId> {
    seen.into_iter().filter(|id| !rows.contains(id)).collect()
}
