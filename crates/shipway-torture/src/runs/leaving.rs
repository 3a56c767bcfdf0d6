//! R12 and R14: workers are asked to stop, or told that their machine will be taken away,
//! in the middle of everything. They finish or give back, nobody is charged, nothing fails.

use std::time::Duration;

use anyhow::Context as _;
use shipway_model::EventKind;
use tokio::time::{Instant, sleep};

use super::storm::{Field, Storm};
use super::{Stage, kills};
use crate::check::Violation;
use crate::evidence::Evidence;
use crate::load::{Plan, ask};
use crate::paper::SLOW;
use crate::part::api::{Answer, Ask};
use crate::report::Report;
use crate::scene::{Base, Scene, Signal, until};

/// How long a worker may take to leave: its drain, and a busy machine's time for the rest.
const GRACE: Duration = Duration::from_secs(15);

/// How long one may take that gives back at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Each start takes so long, so that there is always something to interrupt.
const SLOW_MS: u64 = 50;

/// Starts that take longer than a drain lasts.
const LONGER_MS: u64 = 1000;
const DRAIN_MS: u64 = 300;

pub(super) async fn stopped(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let named = |how: &str| format!("R12 {} {how}", base.word());
        let drained = storm(stage, &named("finish"), base, stage.size(6, 60), SLOW_MS)?;
        reports.push(leave(drained, async |field| asked(field, 1, GRACE).await).await?);
        let mut cut = storm(stage, &named("drain over"), base, stage.size(2, 20), LONGER_MS)?;
        cut.parts.iter_mut().for_each(|(part, _)| part.drain_ms = DRAIN_MS);
        reports.push(leave(cut, async |field| asked(field, 1, GRACE).await).await?);
        let twice = storm(stage, &named("twice"), base, stage.size(2, 20), LONGER_MS)?;
        reports.push(leave(twice, async |field| asked(field, 2, AT_ONCE).await).await?);
    }
    Ok(reports)
}

pub(super) async fn preempted(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let storm = storm(stage, &format!("R14 {}", base.word()), base, stage.size(10, 250), SLOW_MS)?;
        reports.push(leave(storm, async |field| taken_away(field).await).await?);
    }
    Ok(reports)
}

fn storm(stage: &Stage, run: &str, base: Base, times: usize, slow_ms: u64) -> anyhow::Result<Storm> {
    let mut scene = Scene::new(base)?;
    let parts = kills::parts(&mut scene, base)?;
    // In the end all that waits has to be done, however slow it is.
    let open_max = if slow_ms > DRAIN_MS { 6 } else { 40 };
    let plan = Plan { env: vec![(SLOW.to_owned(), slow_ms.to_string())], open_max, ..Plan::mixed("r12", 10) };
    Ok(Storm { run: run.to_owned(), scene, parts, plan, dice: stage.dice(), jobs: 0, times })
}

/// Workers leave, in time, and nobody is charged for what they had not finished.
async fn leave(storm: Storm, how: impl AsyncFn(&mut Field<'_>) -> anyhow::Result<Duration>) -> anyhow::Result<Report> {
    let mut slowest = Duration::ZERO;
    let raged = storm.rage(async |field| {
        field.wait_for_work().await?;
        slowest = slowest.max(how(field).await?);
        Ok(())
    });
    let (mut report, evidence, scene) = raged.await?;
    report.note(format!("left within {} ms", slowest.as_millis()));
    report.add(charged(&evidence));
    report.keep(scene);
    Ok(report)
}

/// SIGTERM, so often: it ends well within a limit. Returns how long it took.
async fn asked(field: &mut Field<'_>, times: usize, limit: Duration) -> anyhow::Result<Duration> {
    let mut victim = field.any();
    // Before it listens to signals, any of them ends it.
    victim.ready().await?;
    let begun = Instant::now();
    victim.signal(Signal::TERM)?;
    for _ in 1..times {
        // Two that are pending together are one.
        sleep(Duration::from_millis(20)).await;
        // It may have gone already.
        drop(victim.signal(Signal::TERM));
    }
    let status = victim.wait(limit).await.context("it does not leave")?;
    anyhow::ensure!(status.success(), "it left with {status}");
    field.again(&victim.config, &victim.wrapping)?;
    Ok(begun.elapsed())
}

/// SIGUSR1: it gives everything back at once, says that it is leaving, and takes nothing
/// more. Then the machine is gone. Returns how long the giving back took.
async fn taken_away(field: &mut Field<'_>) -> anyhow::Result<Duration> {
    let mut victim = field.any();
    victim.ready().await?;
    let begun = Instant::now();
    victim.signal(Signal::USR1)?;
    let mut last = String::new();
    let is_empty = async || {
        let answer = ask(&victim.config.socket, &Ask::Worker).await;
        last = format!("{answer:?}");
        matches!(answer, Ok(Answer::Worker { state, running: 0 }) if state == "leaving").then_some(())
    };
    let emptied = until("it has given everything back", AT_ONCE, is_empty).await;
    emptied.with_context(|| format!("{} is {last}", victim.config.name))?;
    let took = begun.elapsed();
    let (config, wrapping) = (victim.config.clone(), victim.wrapping.clone());
    victim.kill()?;
    field.again(&config, &wrapping)?;
    Ok(took)
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
