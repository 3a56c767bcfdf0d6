//! R1: parts are killed under load, one after the other, each at a random moment.
//!
//! On PostgreSQL there are four workers, two with an engine of their own and two that
//! share one, each with an API part; on SQLite the one process there is.

use std::time::Duration;

use tokio::time::sleep;

use super::Stage;
use super::storm::Storm;
use crate::check::Violation;
use crate::load::Plan;
use crate::part::Config;
use crate::report::Report;
use crate::scene::{Base, Scene, Victim, Wrapping};

/// Between two kills.
const PAUSE_LEAST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// Beside one kill in so many a container dies by itself.
const CRASH: usize = 5;

/// What may pass at most until the work of a dead worker is claimed again, on a machine
/// that has far more to do than it can: the queue's bench measures it on a quiet one.
const RECLAIM_MOST_MS: u64 = 30_000;

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let mut scene = Scene::new(base)?;
        let parts = parts(&mut scene, base)?;
        let storm = Storm {
            run: format!("R1 {}", base.word()),
            scene,
            parts,
            plan: Plan::mixed("r1", 20),
            dice: stage.dice(),
            jobs: stage.size(2500, 50_000),
            times: stage.size(150, 1500),
        };
        let (mut report, _, scene) = storm
            .rage(async |field| {
                let pause = field.dice.between(PAUSE_LEAST, PAUSE_MOST);
                sleep(pause).await;
                if field.dice.below(CRASH) == 0 {
                    field.crash_any()?;
                }
                field.kill_any()
            })
            .await?;
        let late = report.reclaim.filter(|[_, _, most]| *most > RECLAIM_MOST_MS);
        report.add(late.map(|late| Violation::new("run", format!("claimed again too late: {late:?} ms"))));
        report.keep(scene);
        reports.push(report);
    }
    Ok(reports)
}

/// The parts there are usually.
pub(super) fn parts(scene: &mut Scene, base: Base) -> anyhow::Result<Vec<(Config, Wrapping)>> {
    let names: &[(&str, &str)] = match base {
        Base::Sqlite => &[("all", "here")],
        Base::Postgres => &[("w0", "one"), ("w1", "two"), ("w2", "shared"), ("w3", "shared")],
    };
    names.iter().map(|(name, world)| Ok((scene.part(name, world)?, Wrapping::default()))).collect()
}

/// Starts parts, and waits until they answer.
pub(super) async fn start(parts: &[Config]) -> anyhow::Result<Vec<Victim>> {
    let mut victims = parts.iter().map(Victim::start).collect::<anyhow::Result<Vec<_>>>()?;
    for victim in &mut victims {
        victim.ready().await?;
    }
    Ok(victims)
}
