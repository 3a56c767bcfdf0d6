//! What a run came to, for people in one line, for programs in JSON.

mod reclaim;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use shipway_model::{FailureCode, Micros, Outcome};

pub use reclaim::reclaims;

use crate::check::{self, Violation, stale};
use crate::evidence::{Evidence, Task};
use crate::scene::Scene;

/// A part that was killed, and when, by the host's clock.
#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    /// Its worker's name.
    pub worker: String,
    /// When.
    pub at: Micros,
}

/// What a run came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Which run.
    pub run: String,
    /// Processes killed, stopped, or otherwise hurt.
    pub kills: usize,
    /// Requests that were acknowledged.
    pub jobs: usize,
    /// Of those, lost.
    pub lost: usize,
    /// Published twice, or by halves.
    pub duplicates: usize,
    /// Stale writes that were rejected.
    pub stale_rejected: u64,
    /// Stale writes that were accepted.
    pub stale_accepted: usize,
    /// Containers, files and rows that are nobody's.
    pub leaks: usize,
    /// From a kill until what its victim held was claimed again, in milliseconds.
    #[serde(skip)]
    pub reclaim_ms: Vec<u64>,
    /// The same: half of all, 99 of 100, the longest.
    pub reclaim: Option<[u64; 3]>,
    /// How long it took.
    pub seconds: u64,
    /// Further figures.
    pub notes: Vec<String>,
    /// What must never be.
    pub violations: Vec<Violation>,
    /// Where the evidence was kept.
    pub kept: Vec<PathBuf>,
}

impl Report {
    /// Checks the evidence of a run.
    #[must_use]
    pub fn of(run: &str, evidence: &Evidence, kills: &[Kill]) -> Self {
        let violations = check::all(evidence);
        let mut report = Self {
            run: run.to_owned(),
            kills: kills.len(),
            jobs: evidence.asked.iter().filter(|asked| asked.is_acknowledged()).count(),
            stale_rejected: stale::rejected(evidence),
            reclaim_ms: reclaims(evidence, kills),
            ..Self::default()
        };
        report.add(violations);
        report.count();
        report
    }

    /// A run that has nothing but its own words.
    #[must_use]
    pub fn plain(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    /// Adds what must never be.
    pub fn add(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.violations.extend(violations);
        let count = |of| self.violations.iter().filter(|violation| violation.of == of).count();
        (self.lost, self.duplicates, self.stale_accepted, self.leaks) =
            (count("I1"), count("I2"), count("I3"), count("I7"));
    }

    /// Takes back what was counted as lost and failed for one of these reasons. Returns how
    /// many there were.
    pub fn excuse(&mut self, evidence: &Evidence, reasons: &[FailureCode]) -> usize {
        let failed_so = |task: &Task| match task.outcome() {
            Some(Outcome::Failed(failure)) => reasons.contains(&failure.code),
            _ => false,
        };
        let excused = evidence.rows.tasks.iter().filter(|task| failed_so(task));
        let excused: Vec<&str> = excused.map(|task| task.id.as_str()).collect();
        let is_excused =
            |violation: &Violation| violation.of == "I1" && excused.iter().any(|id| violation.what.contains(id));
        self.violations.retain(|violation| !is_excused(violation));
        self.add([]);
        excused.len()
    }

    /// Adds a figure.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Fails unless something holds that proves that the run has hurt at all.
    pub fn must(&mut self, holds: bool, what: &str) {
        if !holds {
            self.add([Violation::new("run", format!("the run proves nothing: {what}"))]);
        }
    }

    /// Says how long it took.
    pub fn took(&mut self, span: Duration) {
        self.seconds = span.as_secs();
    }

    /// Keeps the evidence of a run in which something was wrong.
    pub fn keep(&mut self, scene: Scene) {
        if self.violations.is_empty() {
            scene.discard();
        } else {
            self.kept.push(scene.keep());
        }
    }

    /// All of them in one.
    #[must_use]
    pub fn sum(reports: &[Self]) -> Self {
        let mut sum = Self::plain("all");
        for report in reports {
            sum.kills += report.kills;
            sum.jobs += report.jobs;
            sum.stale_rejected += report.stale_rejected;
            sum.seconds += report.seconds;
            sum.reclaim_ms.extend(&report.reclaim_ms);
            sum.add(report.violations.clone());
        }
        sum.count();
        sum
    }

    fn count(&mut self) {
        self.reclaim_ms.sort_unstable();
        let at = |percent: usize| self.reclaim_ms.get((self.reclaim_ms.len().saturating_sub(1)) * percent / 100);
        self.reclaim = at(50).zip(at(99)).zip(at(100)).map(|((half, most), all)| [*half, *most, *all]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, kills, jobs, lost, duplicates, stale_rejected, leaks, .. } = self;
        write!(f, "{run}: {kills} kills, {jobs} jobs: {lost} lost, {duplicates} duplicate publishes, ")?;
        write!(f, "{stale_rejected} stale rejected, {} accepted, {leaks} leaks", self.stale_accepted)?;
        if let Some([half, most, all]) = self.reclaim {
            write!(f, "; re-claim p50/p99/max {half}/{most}/{all} ms")?;
        }
        write!(f, " ({} s)", self.seconds)?;
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::good;

    #[test]
    fn a_good_run_reads_as_one_line() {
        let report = Report::of("R0", &good(), &[]);
        let line = "R0: 0 kills, 1 jobs: 0 lost, 0 duplicate publishes, 4 stale rejected, 0 accepted, 0 leaks (0 s)";
        assert_eq!(report.to_string(), line);
    }

    #[test]
    fn what_proves_nothing_is_a_violation() {
        let mut report = Report::plain("R0");
        report.must(true, "it hurt");
        assert_eq!(report.violations, []);
        report.must(false, "it hurt");
        assert_eq!(Report::sum(&[report]).violations.len(), 1);
    }

    #[test]
    fn only_failures_of_the_reasons_named_are_excused() {
        let mut evidence = good();
        let failed = r#"{"outcome":"failed","code":"storage_unavailable","detail":"x","hint":null}"#;
        evidence.rows.tasks[0].outcome = Some(failed.to_owned());
        evidence.rows.releases[0].state = "failed".to_owned();
        let mut report = Report::of("R0", &evidence, &[]);
        assert_eq!(report.lost, 1);
        assert_eq!(report.excuse(&evidence, &[FailureCode::EngineUnavailable]), 0);
        assert_eq!(report.lost, 1);
        assert_eq!(report.excuse(&evidence, &[FailureCode::StorageUnavailable]), 1);
        assert_eq!(report.lost, 0);
    }
}
