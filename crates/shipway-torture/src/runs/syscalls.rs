//! R2: a worker is killed at each of its system calls that leave something behind, once.
//!
//! A first run, under `strace`, counts them: every write, sync, rename and send from the
//! worker's start until one deploy is done, with the old container drained and everything
//! at rest. Then, for each of them, a run that is killed when it comes to that call, a
//! second one that finds what is left and finishes it, and the checker. `strace` counts
//! each call for each thread; the parts have one thread for each kind of work here, so that
//! the numbers mean the same every time.

mod template;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use super::Stage;
use crate::check::{self, Violation};
use crate::report::Report;
use crate::scene::{Base, PATIENCE, Scene, Victim, Wrapping};
pub(super) use template::Template;

/// What leaves something behind. In the long form it is every call there is.
const CALLS: &str = "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,\
                     mkdir,sendto,sendmsg";

/// Points at once: most of their time is waiting.
const AT_ONCE: usize = 3;

/// Of all points on PostgreSQL CI tries one in so many.
const SAMPLE: usize = 8;

/// A system call, and which one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) call: String,
    pub(super) number: usize,
}

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let calls = if stage.long { "all" } else { CALLS };
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let every = if base == Base::Postgres && !stage.long { SAMPLE } else { 1 };
        reports.push(sweep(&format!("R2 {}", base.word()), base, None, calls, every).await?);
    }
    Ok(reports)
}

/// Counts the points, and kills at one in `every`.
pub(super) async fn sweep(
    run: &str,
    base: Base,
    mutant: Option<&str>,
    calls: &str,
    every: usize,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let template = Template::make(base, mutant).await?;
    let all = points(&template, calls).await?;
    let chosen: Vec<Point> = all.iter().step_by(every).cloned().collect();
    let trials = chosen.iter().map(|point| trial(&template, point));
    let trials: Vec<anyhow::Result<Trial>> = stream::iter(trials).buffered(AT_ONCE).collect().await;
    let mut report = Report::plain(run);
    let mut missed = 0;
    for (trial, point) in trials.into_iter().zip(&chosen) {
        let trial = trial.with_context(|| format!("{point:?}"))?;
        missed += usize::from(!trial.killed);
        report.jobs += trial.jobs;
        report.add(trial.violations);
        report.kept.extend(trial.kept);
    }
    report.kills = chosen.len() - missed;
    report.note(format!("{} points of {}, tried {}, not met {missed}", all.len(), kinds(&all), chosen.len()));
    template.discard();
    report.must(report.kills > chosen.len() / 2, "most points were not met");
    report.took(begun.elapsed());
    Ok(report)
}

/// What came of one point.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) killed: bool,
    pub(super) jobs: usize,
    pub(super) violations: Vec<Violation>,
    pub(super) kept: Option<PathBuf>,
}

/// Starts a worker that is killed at this point, and then one that meets nothing.
async fn trial(template: &Template, point: &Point) -> anyhow::Result<Trial> {
    let mut scene = template.copy()?;
    let Point { call, number } = point;
    let first = template.worker(&mut scene, "first")?;
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
    let before = words.map(str::to_owned).to_vec();
    let mut victim = Victim::wrapped(&first, &Wrapping { before, ..Wrapping::default() })?;
    let killed = !victim.wait(PATIENCE).await?.success();
    drop(victim);
    let trial = template.finish(scene, &format!("{point:?}")).await?;
    Ok(Trial { killed, ..trial })
}

impl Template {
    /// Lets another worker finish what the first has left, and checks.
    pub(super) async fn finish(&self, mut scene: Scene, what: &str) -> anyhow::Result<Trial> {
        let mut second = Victim::start(&self.worker(&mut scene, "second")?)?;
        let finished = second.wait(PATIENCE).await;
        drop(second);
        let evidence = scene.evidence().await?;
        let found = check::all(&evidence).into_iter();
        let mut violations: Vec<Violation> =
            found.map(|found| Violation { what: format!("{what}: {}", found.what), ..found }).collect();
        if !finished.as_ref().is_ok_and(std::process::ExitStatus::success) {
            violations.push(Violation::new("I1", format!("{what}: the next one did not finish: {finished:?}")));
        }
        let kept = if violations.is_empty() {
            scene.discard();
            None
        } else {
            Some(scene.keep())
        };
        Ok(Trial { killed: false, jobs: evidence.asked.len(), violations, kept })
    }
}

/// Finds out which points there are.
pub(super) async fn points(template: &Template, calls: &str) -> anyhow::Result<Vec<Point>> {
    let mut scene = template.copy()?;
    let trace = scene.folder().join("trace");
    let words = ["strace", "-f", "-qq", "-o", &trace.display().to_string(), "-e", &format!("trace={calls}")];
    let before = words.map(str::to_owned).to_vec();
    let worker = template.worker(&mut scene, "first")?;
    let mut victim = Victim::wrapped(&worker, &Wrapping { before, ..Wrapping::default() })?;
    let status = victim.wait(PATIENCE).await?;
    anyhow::ensure!(status.success(), "under strace the worker ended with {status}");
    let points = read_points(&trace)?;
    scene.discard();
    Ok(points)
}

fn read_points(trace: &Path) -> anyhow::Result<Vec<Point>> {
    let text = String::from_utf8_lossy(&fs::read(trace)?).into_owned();
    let counts = count(&text);
    let points =
        counts.into_iter().flat_map(|(call, most)| (1..=most).map(move |number| Point { call: call.clone(), number }));
    Ok(points.collect())
}

/// How often the thread that makes it most makes each call.
fn count(trace: &str) -> BTreeMap<String, usize> {
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if call.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), times) in by_thread {
        let known: &mut usize = most.entry(call.to_owned()).or_default();
        *known = times.max(*known);
    }
    // They do not come back, or cannot be interrupted by anything.
    most.retain(|call, _| !matches!(call.as_str(), "exit" | "exit_group" | "execve" | "rt_sigreturn"));
    most
}

fn kinds(points: &[Point]) -> String {
    let mut kinds: Vec<&str> = points.iter().map(|point| point.call.as_str()).collect();
    kinds.dedup();
    kinds.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_thread_and_the_busiest_counts() {
        let trace = "10 write(1, \"a\", 1) = 1\n11 write(2, \"b\" <unfinished ...>\n10 write(1, \"c\", 1) = 1\n\
                     11 <... write resumed>) = 1\n10 +++ exited with 0 +++\n10 fsync(3) = 0\n";
        assert_eq!(count(trace), BTreeMap::from([("fsync".to_owned(), 1), ("write".to_owned(), 2)]));
    }
}
