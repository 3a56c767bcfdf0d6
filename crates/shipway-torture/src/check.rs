//! The invariants, checked afterwards over everything that is there. Pure: evidence in,
//! violations out.
//!
//! | | what | here |
//! |---|---|---|
//! | I1 | nothing acknowledged is lost | [`asked`] |
//! | I2 | nothing is published twice, and publishing and ending are one | [`published`] |
//! | I3 | no stale write is accepted | [`stale`] |
//! | I4 | content is there and is what its name says | [`content`] |
//! | I5 | attempts are bounded; poison is given up | [`asked`] |
//! | I6 | every history is a path of the state machine, without a gap | [`histories`] |
//! | I7 | nothing is leaked: what runs is what the rows say | [`worlds`] |
//! | I8 | logs: paper has none. The engine's own tests kill it between lines of logs | – |
//! | I1, I2, I4 of builds | each ends once; published whole, with every document, or not at all | [`builds`] |
//! | I9 | what was deleted never becomes live; no task can be cancelled in this version | [`published`] |
//!
//! That unreferenced content is collected (the second half of I4) is the janitor's, which
//! these parts do not have.

pub mod asked;
pub mod builds;
pub mod content;
pub mod histories;
pub mod published;
pub mod stale;
pub mod worlds;

use std::fmt;

use serde::Serialize;

use crate::evidence::Evidence;

/// What must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant: `I1` to `I9`; or a run, of what only it can tell.
    pub of: &'static str,
    /// What was found, in words.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(of: &'static str, what: impl Into<String>) -> Self {
        Self { of, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.what)
    }
}

/// Checks everything, at the end of a run, when nothing is left to do.
#[must_use]
pub fn all(evidence: &Evidence) -> Vec<Violation> {
    let parts: [fn(&Evidence) -> Vec<Violation>; 7] =
        [asked::check, builds::check, published::check, stale::check, content::check, histories::check, worlds::check];
    parts.iter().flat_map(|check| check(evidence)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
