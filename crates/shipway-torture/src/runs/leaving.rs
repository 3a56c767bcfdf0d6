//! R12 and R14: workers are asked to stop, or told that their machine will be taken away,
//! in the middle of everything. They finish or give back, nobody is charged, nothing fails.

use std::time::Duration;

use anyhow::Context as _;
use shipway_model::EventKind;

use super::storm::{Field, Storm};
use super::{Stage, kills};
use crate::check::Violation;
use crate::evidence::Evidence;
use crate::load::Plan;
use crate::paper::SLOW;
use crate::report::Report;
use crate::scene::{Base, Scene, Signal};

/// How long a worker may take to leave. It gives back what would take longer.
const GRACE: Duration = Duration::from_secs(10);

/// How long one may take that was told twice.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Each start takes so long, so that there is always something to interrupt.
const SLOW_MS: &str = "50";

pub(super) async fn stopped(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let times = stage.size(7, 70);
        let drained = leave(stage, &format!("R12 {} drain", base.word()), base, times, Signal::TERM).await?;
        reports.push(drained);
        let storm = storm(stage, &format!("R12 {} twice", base.word()), base, stage.size(3, 30))?;
        reports.push(storm.check(async |field| told_twice(field).await).await?);
    }
    Ok(reports)
}

pub(super) async fn preempted(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let run = format!("R14 {}", base.word());
        reports.push(leave(stage, &run, base, stage.size(10, 250), Signal::USR1).await?);
    }
    Ok(reports)
}

fn storm(stage: &Stage, run: &str, base: Base, times: usize) -> anyhow::Result<Storm> {
    let mut scene = Scene::new(base)?;
    let parts = kills::parts(&mut scene, base)?;
    let plan = Plan { env: vec![(SLOW.to_owned(), SLOW_MS.to_owned())], ..Plan::mixed("r12", 10) };
    Ok(Storm { run: run.to_owned(), scene, parts, plan, dice: stage.dice(), jobs: 0, times })
}

/// One signal: it leaves in time, and nobody is charged for what it had not finished.
async fn leave(stage: &Stage, run: &str, base: Base, times: usize, signal: Signal) -> anyhow::Result<Report> {
    let storm = storm(stage, run, base, times)?;
    let mut slowest = Duration::ZERO;
    let raged = storm.rage(async |field| {
        field.wait_for_work().await?;
        let mut victim = field.any();
        let begun = tokio::time::Instant::now();
        victim.signal(signal)?;
        let status = victim.wait(GRACE).await.context("it does not leave")?;
        anyhow::ensure!(status.success(), "it left with {status}");
        slowest = slowest.max(begun.elapsed());
        field.again(&victim.config, &victim.wrapping)
    });
    let (mut report, evidence, scene) = raged.await?;
    report.note(format!("left within {} ms", slowest.as_millis()));
    report.add(charged(&evidence));
    report.keep(scene);
    Ok(report)
}

/// Two signals: it is gone at once; what it held is taken up again by its lease.
async fn told_twice(field: &mut Field<'_>) -> anyhow::Result<()> {
    field.wait_for_work().await?;
    let mut victim = field.any();
    victim.signal(Signal::TERM)?;
    // It may have gone already.
    drop(victim.signal(Signal::TERM));
    victim.wait(AT_ONCE).await.context("told twice, it does not go")?;
    field.again(&victim.config, &victim.wrapping)
}

/// Tasks that were given back by a worker that left, and charged for it.
fn charged(evidence: &Evidence) -> Vec<Violation> {
    let rows = &evidence.rows;
    let mut found = Vec::new();
    for task in &rows.tasks {
        let mut claimed = 0;
        for event in rows.history(&task.id) {
            let EventKind::Task { change, attempt, note, .. } = &event.kind else { continue };
            match change.as_str() {
                "claimed" => claimed = *attempt,
                "given_back" if *attempt == claimed => {
                    let what = format!("{} {} was charged: {note:?}", task.kind, task.id);
                    found.push(Violation::new("I5", what));
                }
                _ => {}
            }
        }
    }
    found
}
