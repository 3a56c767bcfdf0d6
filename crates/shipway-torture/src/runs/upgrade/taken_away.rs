//! A version that takes something away: whoever still needs it stops by itself, says why,
//! and cannot be started again; the others go on.

use std::time::Duration;

use shipway_store::next_version::Version;

use super::{JOBS, Part, begin, stop};
use crate::check::Violation;
use crate::load::Plan;
use crate::part::{Config, OUTGROWN};
use crate::report::Report;
use crate::runs::Stage;
use crate::runs::storm::{Field, Storm};
use crate::scene::{Base, PATIENCE, Scene, Victim, Wrapping};

/// A mutant is waited for no longer than five looks at the schema take.
const MUTANT_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(stage: &Stage, version: Version) -> anyhow::Result<Report> {
    let mut scene = Scene::new(Base::Postgres)?;
    scene.version = version;
    let parts = Part::all(&mut scene, Base::Postgres, version)?;
    let patience = if version == Version::AfterNext { PATIENCE } else { MUTANT_PATIENCE };
    let storm = Storm {
        run: "R9 taken away".to_owned(),
        scene,
        parts: parts.iter().map(|part| (part.old.clone(), Wrapping::default())).collect(),
        plan: Plan { open_max: 20, ..Plan::mixed("r9", 10) },
        dice: stage.dice(),
        jobs: JOBS / 2,
        times: 1,
    };
    let mut wrong = Vec::new();
    let raged = storm.rage(async |field| {
        field.wait_for_work().await?;
        wrong = contract(field, &parts, patience).await?;
        Ok(())
    });
    let (mut report, _, scene) = raged.await?;
    report.kills = 0;
    report.note(format!("{} parts were outgrown, each at work and at its start", parts.len() - 1));
    report.add(wrong.into_iter().map(|what| Violation::new("R9", what)));
    report.keep(scene);
    Ok(report)
}

/// The first part is replaced, and migrates. Returns what the others did that they should not.
async fn contract(field: &mut Field<'_>, parts: &[Part], patience: Duration) -> anyhow::Result<Vec<String>> {
    let first = &parts[0].new;
    stop(field, &first.name).await?;
    begin(field, first).await?;
    let mut wrong = Vec::new();
    for part in &parts[1..] {
        let victim = field.named(&part.old.name)?;
        // Once is enough; then it is killed.
        if wrong.is_empty() {
            wrong.extend(is_outgrown(victim, "at work", patience).await);
        }
    }
    for part in &parts[1..] {
        if wrong.is_empty() {
            wrong.extend(is_outgrown(Victim::start(&part.old)?, "at its start", patience).await);
        }
    }
    for part in &parts[1..] {
        begin(field, &part.new).await?;
    }
    Ok(wrong)
}

/// Waits until it ends; what it does instead. It is killed then.
async fn is_outgrown(mut victim: Victim, when: &str, patience: Duration) -> Option<String> {
    let Config { name, .. } = victim.config.clone();
    match victim.wait(patience).await {
        Ok(status) if status.code() == Some(OUTGROWN.into()) => None,
        Ok(status) => Some(format!("{name}, outgrown {when}, ended with {status}")),
        Err(_) => Some(format!("{name}, outgrown {when}, goes on")),
    }
}
