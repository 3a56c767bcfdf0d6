//! Why a task has not begun: pure, from facts that were read in one go.
//!
//! What is said here is what the claim goes by (`shipway-store`, `claims.rs`), turned around:
//! the claim asks which task a worker may take, this asks who may take a task and what is
//! in the way. A test of the store holds the two against each other.
//!
//! ```text
//! due? ── nothing before it? ── somebody can take it ── its project has room ── a free hand
//!                                │
//!                                ├ workers of its engine (any, if it has none)
//!                                ├ with its labels
//!                                └ heard of, and taking tasks
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Micros, TaskId};

/// What is known of a queued task and of those who could take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// By the database's clock.
    pub now: Micros,
    /// It is not to be begun before.
    pub not_before: Micros,
    /// What stands before it.
    pub ahead: Option<Ahead>,
    /// The engine root it belongs to, itself or by its service.
    pub engine: Option<String>,
    /// What its worker must offer.
    pub labels: BTreeSet<String>,
    /// Tasks of its project at work.
    pub project_running: u64,
    /// As many of them may be at work at once.
    pub project_max: Option<u32>,
    /// Everybody who has registered.
    pub workers: Vec<Hand>,
    /// A worker that was not heard of for so long counts as silent.
    pub silent_after: Duration,
}

/// A task of the same service that goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Which: the one at work, or else the first in line.
    pub task: TaskId,
    /// What it does.
    pub kind: String,
    /// It is at work; else it waits too.
    pub running: bool,
}

/// A worker, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// Its name.
    pub worker: String,
    /// The engine root it has.
    pub engine: Option<String>,
    /// What it offers.
    pub labels: BTreeSet<String>,
    /// Whether it takes tasks, in the word of the table (`active`).
    pub state: String,
    /// How long nobody has heard of it.
    pub silent_for: Micros,
    /// Tasks it works on at once.
    pub capacity: u64,
    /// Tasks it has.
    pub running: u64,
}

/// What is in the way of a queued task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Its time has not come.
    NotDue {
        /// When it does.
        until: Micros,
    },
    /// A task of the same service goes first.
    Behind(Ahead),
    /// No worker has registered at all.
    NoWorkers,
    /// It belongs to an engine that no worker has.
    NoEngine {
        /// The engine.
        engine: String,
    },
    /// No worker offers all the labels it needs.
    NoLabels {
        /// What it needs.
        labels: BTreeSet<String>,
    },
    /// Those who could take it do not: each with its reason.
    Unavailable {
        /// The engine it belongs to, if to any.
        engine: Option<String>,
        /// Who.
        workers: Vec<Away>,
    },
    /// Its project has as many tasks at work as it may.
    ProjectFull {
        /// So many.
        most: u32,
    },
    /// Everybody who could take it has their hands full.
    AllBusy {
        /// So many workers.
        workers: usize,
    },
}

/// A worker that takes no tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Its name.
    pub worker: String,
    /// Why: `silent`, or its state.
    pub why: String,
    /// How long nobody has heard of it.
    pub silent_for: Micros,
}

impl Hand {
    /// Whether the claim would give this worker a task of this engine and these labels.
    /// Silence and full hands are its own business: they keep it from asking.
    #[must_use]
    pub fn may_take(&self, engine: Option<&str>, labels: &BTreeSet<String>) -> bool {
        self.state == ACTIVE && self.fits_engine(engine) && labels.is_subset(&self.labels)
    }

    fn fits_engine(&self, engine: Option<&str>) -> bool {
        engine.is_none_or(|engine| self.engine.as_deref() == Some(engine))
    }

    fn away(&self, facts: &Facts) -> Option<Away> {
        let limit = Micros::try_from(facts.silent_after.as_micros()).unwrap_or(Micros::MAX);
        let why = match (self.silent_for > limit, self.state.as_str()) {
            (true, _) => "silent",
            (false, ACTIVE) => return None,
            (false, state) => state,
        };
        Some(Away { worker: self.worker.clone(), why: why.to_owned(), silent_for: self.silent_for })
    }
}

/// The state of a worker that takes tasks.
const ACTIVE: &str = "active";

/// Everything that is in the way of a queued task; nothing, when it is taken next.
#[must_use]
pub fn why(facts: &Facts) -> Vec<Waiting> {
    let not_due = (facts.not_before > facts.now).then_some(Waiting::NotDue { until: facts.not_before });
    let behind = facts.ahead.clone().map(Waiting::Behind);
    let full = facts.project_max.filter(|most| facts.project_running >= u64::from(*most));
    let full = full.map(|most| Waiting::ProjectFull { most });
    not_due.into_iter().chain(behind).chain(nobody(facts)).chain(full).collect()
}

/// Why nobody can take it, if so: the first step at which no worker is left.
fn nobody(facts: &Facts) -> Option<Waiting> {
    if facts.workers.is_empty() {
        return Some(Waiting::NoWorkers);
    }
    let engine = facts.engine.as_deref();
    let near: Vec<&Hand> = facts.workers.iter().filter(|hand| hand.fits_engine(engine)).collect();
    if near.is_empty() {
        return facts.engine.clone().map(|engine| Waiting::NoEngine { engine });
    }
    let able: Vec<&Hand> = near.into_iter().filter(|hand| facts.labels.is_subset(&hand.labels)).collect();
    if able.is_empty() {
        return Some(Waiting::NoLabels { labels: facts.labels.clone() });
    }
    let away: Vec<Away> = able.iter().filter_map(|hand| hand.away(facts)).collect();
    if away.len() == able.len() {
        return Some(Waiting::Unavailable { engine: facts.engine.clone(), workers: away });
    }
    let there: Vec<&&Hand> = able.iter().filter(|hand| hand.away(facts).is_none()).collect();
    let busy = there.iter().all(|hand| hand.running >= hand.capacity);
    busy.then_some(Waiting::AllBusy { workers: there.len() })
}

#[cfg(test)]
mod tests;
