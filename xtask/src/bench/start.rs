//! `start` and `exec`: the engine's own cycle against runc's.
//!
//! Ours runs in the engine's example `cycle`, which prints the microseconds of
//! each cycle; runc runs a bundle of the same root file system with the same
//! limits, from the outside, as it is used.

use super::row::Row;

pub(super) fn start(_rounds: usize) -> anyhow::Result<Vec<Row>> {
    anyhow::bail!("the engine's example is missing")
}

pub(super) fn exec(_rounds: usize) -> anyhow::Result<Vec<Row>> {
    anyhow::bail!("the engine's example is missing")
}
