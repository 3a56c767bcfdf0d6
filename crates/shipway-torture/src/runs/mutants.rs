//! The store with one of its rules left out. Each of these must fail: a suite that lets
//! one pass would let the same mistake pass.

use shipway_testkit::Postgres;
use tokio::time::Instant;

use super::storm::Storm;
use super::{Stage, syscalls, upgrade, zombies};
use crate::load::Plan;
use crate::report::Report;
use crate::scene::{Base, Scene, Wrapping};

/// Jobs for workers that take each other's tasks.
const JOBS: usize = 300;

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let begun = Instant::now();
    let mut scene = Scene::new(Base::Postgres)?;
    scene.mutant = Some("no-token".to_owned());
    let no_token = zombies::zombies("no-token", scene, 1).await?;

    let mut scene = Scene::on(Postgres::shared())?;
    scene.mutant = Some("no-skip-locked".to_owned());
    let no_skip_locked = crowd(scene, stage).await?;

    let halves = syscalls::sweep("publish-before-finish", Base::Sqlite, Some("publish-before-finish"), "pwrite64", 2);
    let halves = halves.await?;
    let unsaid = upgrade::unsaid(stage).await?;
    let mut reports =
        vec![caught(&no_token, "I3"), caught(&no_skip_locked, "I6"), caught(&halves, "I2"), caught(&unsaid, "R9")];
    if let Some(first) = reports.first_mut() {
        first.took(begun.elapsed());
    }
    Ok(reports)
}

/// Workers that all share one engine, so that each may take any task.
async fn crowd(mut scene: Scene, stage: &Stage) -> anyhow::Result<Report> {
    let parts = ["w0", "w1", "w2", "w3"].map(|name| Ok((scene.part(name, "shared")?, Wrapping::default())));
    let parts = parts.into_iter().collect::<anyhow::Result<_>>()?;
    let plan = Plan { projects: vec!["default".to_owned()], ..Plan::mixed("m", 60) };
    let run = "no-skip-locked".to_owned();
    let storm = Storm { run, scene, parts, plan, dice: stage.dice(), jobs: JOBS, times: 0 };
    storm.check(async |_field| Ok(())).await
}

/// Turns a report round: it is good when what was to be found has been.
pub(super) fn caught(found: &Report, of: &str) -> Report {
    let mut report = Report::plain(&format!("mutant {}", found.run));
    let caught = found.violations.iter().find(|violation| violation.of == of);
    match caught {
        Some(violation) => report.note(format!("caught, {} times: {violation}", found.violations.len())),
        None => {
            report.must(false, &format!("the mutant lives; found was only {:?}; {:?}", found.violations, found.notes));
        }
    }
    for kept in &found.kept {
        // It is broken on purpose: nobody will look.
        drop(std::fs::remove_dir_all(kept));
    }
    report
}
