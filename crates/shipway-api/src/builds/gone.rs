//! Builds whose artifacts were looked for and are no longer there: somebody emptied the bucket.
//!
//! The store says that they succeeded, and asking for the same would find them again for ever.
//! What is noted here is asked for anew by the next who wants it. Each api notes for itself, and
//! learns it again after a restart.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use shipway_model::BuildId;

/// Most that are noted. Past that the oldest are forgotten, and found out again.
const NOTED_MAX: usize = 10_000;

/// Builds without their artifacts.
#[derive(Debug, Default)]
pub(crate) struct Gone(Mutex<BTreeSet<BuildId>>);

impl Gone {
    pub(crate) fn note(&self, build: BuildId) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= NOTED_MAX {
            noted.pop_first();
        }
        noted.insert(build);
    }

    pub(crate) fn has(&self, build: BuildId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&build)
    }
}
