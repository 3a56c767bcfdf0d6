//! R1: parts are killed under load, one after the other, each at a random moment.
//!
//! On PostgreSQL there are four workers, two with an engine of their own and two that
//! share one, each with an API part; on SQLite the one process there is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shipway_stdx::clock::{Clock as _, HostClock};
use tokio::time::{Instant, sleep};

use super::Stage;
use crate::check::Violation;
use crate::dice::Dice;
use crate::load::{Load, Plan};
use crate::part::Config;
use crate::report::{Kill, Report};
use crate::scene::{Base, Scene, Victim};

/// Between two kills.
const PAUSE_LEAST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// Who asks at once.
const ASKERS: u64 = 4;

/// What may pass at most until the work of a dead worker is claimed again, on a machine
/// that has far more to do than it can: the queue's bench measures it on a quiet one.
const RECLAIM_MOST_MS: u64 = 30_000;

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let mut scene = Scene::new(base)?;
        let parts = parts(&mut scene, base)?;
        let plan = Plan::mixed("r1", 20);
        let wanted = Wanted { kills: stage.size(150, 1500), jobs: stage.size(2500, 50_000) };
        reports.push(torture(&format!("R1 {}", base.word()), scene, parts, plan, wanted, stage.dice()).await?);
    }
    Ok(reports)
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) kills: usize,
    pub(super) jobs: usize,
}

/// The same on PostgreSQL with workers that all share one engine.
pub(super) async fn shared(
    run: &str,
    mut scene: Scene,
    plan: Plan,
    wanted: Wanted,
    dice: Dice,
) -> anyhow::Result<Report> {
    let parts = ["w0", "w1", "w2", "w3"].map(|name| scene.part(name, "shared"));
    let parts = parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    torture(run, scene, parts, plan, wanted, dice).await
}

/// Kills under load, then lets everything settle, and checks.
pub(super) async fn torture(
    run: &str,
    scene: Scene,
    parts: Vec<Config>,
    plan: Plan,
    wanted: Wanted,
    dice: Dice,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut victims = start(&parts).await?;
    let kills = hurt(&scene, plan, &mut victims, wanted, &dice).await?;
    let settled = scene.settle(&parts[0].socket).await;
    for victim in victims {
        victim.stop().await?;
    }
    let mut report = Report::of(run, &scene.evidence().await?, &kills);
    report.add(settled.err().map(|error| Violation::new("I1", format!("{error:#}"))));
    let late = report.reclaim.filter(|[_, _, most]| *most > RECLAIM_MOST_MS);
    report.add(late.map(|late| Violation::new("run", format!("claimed again too late: {late:?} ms"))));
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}

pub(super) fn parts(scene: &mut Scene, base: Base) -> anyhow::Result<Vec<Config>> {
    let names: &[(&str, &str)] = match base {
        Base::Sqlite => &[("all", "here")],
        Base::Postgres => &[("w0", "one"), ("w1", "two"), ("w2", "shared"), ("w3", "shared")],
    };
    names.iter().map(|(name, world)| scene.part(name, world)).collect()
}

pub(super) async fn start(parts: &[Config]) -> anyhow::Result<Vec<Victim>> {
    let mut victims = parts.iter().map(Victim::start).collect::<anyhow::Result<Vec<_>>>()?;
    for victim in &mut victims {
        victim.ready().await?;
    }
    Ok(victims)
}

/// Asks and kills until there was enough of both.
async fn hurt(
    scene: &Scene,
    plan: Plan,
    victims: &mut Vec<Victim>,
    wanted: Wanted,
    dice: &Dice,
) -> anyhow::Result<Vec<Kill>> {
    let load = Load::new(plan);
    let sockets: Vec<PathBuf> = victims.iter().map(|victim| victim.config.socket.clone()).collect();
    let killed = AtomicUsize::new(0);
    let asked_enough = || scene.ledger.acknowledged() >= wanted.jobs;
    let enough = || asked_enough() && killed.load(Ordering::Relaxed) >= wanted.kills;
    let asking = (0..ASKERS).map(|asker| load.run(&sockets, &scene.ledger, dice.fork(asker + 1), enough));
    let killing = async {
        let mut dice = dice.fork(0);
        let mut kills = Vec::new();
        while kills.len() < wanted.kills {
            sleep(dice.between(PAUSE_LEAST, PAUSE_MOST)).await;
            let place = dice.below(victims.len());
            let victim = victims.swap_remove(place);
            let config = victim.config.clone();
            kills.push(Kill { worker: config.name.clone(), at: HostClock.now() });
            victim.kill()?;
            victims.push(Victim::start(&config)?);
            killed.store(kills.len(), Ordering::Relaxed);
        }
        Ok::<_, anyhow::Error>(kills)
    };
    let (kills, asked) = tokio::join!(killing, futures_util::future::try_join_all(asking));
    asked?;
    let kills = kills?;
    for victim in victims {
        victim.ready().await?;
    }
    Ok(kills)
}
