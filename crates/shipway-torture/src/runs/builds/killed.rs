//! Workers are killed while they build, and on PostgreSQL the last ones are stopped past
//! their leases, outlived, and continued: what they write then is too late.

use std::time::Duration;

use shipway_stdx::clock::{Clock as _, HostClock};
use tokio::time::sleep;

use super::asker::{Asker, a_builder, at_work, begun_again, keep};
use super::{left, workers};
use crate::check::Violation;
use crate::ground::{Ground, Size};
use crate::load::Plan;
use crate::report::{Kill, Report};
use crate::runs::Stage;
use crate::runs::storm::{Field, Storm};
use crate::scene::{Base, PATIENCE, Scene, Signal, until};

/// Longer than for tasks of paper: compilers leave others no processor.
const LEASE: Duration = Duration::from_secs(4);

/// From when a build is seen until its worker is killed: all of a build is within.
const PAUSE_MOST: Duration = Duration::from_millis(2_500);

/// Builds asked for before each kill.
const BETWEEN: usize = 2;

/// One kill in so many does not ask who builds.
const ANY: usize = 4;

const POSTGRES: [(&str, &str); 3] = [("w0", "one"), ("w1", "shared"), ("w2", "shared")];
const SQLITE: [(&str, &str); 1] = [("all", "here")];

pub(super) async fn run(stage: &Stage, ground: &Ground, base: Base) -> anyhow::Result<Report> {
    let (names, kills, stops): (&[_], _, _) = match base {
        Base::Sqlite => (&SQLITE, stage.size(3, 60), 0),
        Base::Postgres => (&POSTGRES, stage.size(8, 200), stage.size(1, 20)),
    };
    let mut scene = Scene::new(base)?;
    scene.lease = LEASE;
    let store = ground.bucket(&format!("killed-{}", base.word()), ground.server)?;
    let parts = workers(&mut scene, ground, &store, names)?;
    keep(&mut scene, ground, store).await?;
    let storm = Storm {
        run: format!("R1 builds {}", base.word()),
        scene,
        parts,
        plan: Plan { open_max: 10, ..Plan::mixed("b", 3) },
        dice: stage.dice().fork(1),
        jobs: 0,
        times: kills + stops,
    };
    let (mut asker, mut time) = (Asker::new(ground, stage.dice().fork(2)), 0);
    let raged = storm.rage(async |field| {
        time += 1;
        for _ in 0..BETWEEN {
            asker.ask(field, Size::Small).await?;
        }
        if time > kills { outlive(field).await } else { kill(field).await }
    });
    let (mut report, evidence, scene) = raged.await?;
    let again = begun_again(&evidence.rows.tasks);
    report.note(format!("{} builds, {again} of them begun more than once", evidence.rows.builds.len()));
    report.must(again > 0, "no worker was killed while it built");
    report.must(report.stale_rejected >= u64::try_from(stops)?, "no zombie was rejected");
    report.add(left::behind(&scene)?.into_iter().map(|what| Violation::new("I7", what)));
    report.keep(scene);
    Ok(report)
}

/// Kills a worker, most times one that builds, at a random moment of its build.
async fn kill(field: &mut Field<'_>) -> anyhow::Result<()> {
    let (_, worker) = a_builder(field).await?;
    sleep(field.dice.between(Duration::ZERO, PAUSE_MOST)).await;
    if field.dice.below(ANY) == 0 {
        return field.kill_any();
    }
    let victim = field.named(&worker)?;
    let (config, wrapping) = (victim.config.clone(), victim.wrapping.clone());
    field.kills.push(Kill { worker, at: HostClock.now() });
    victim.kill()?;
    field.again(&config, &wrapping)
}

/// Stops a worker that builds until somebody else has its build, and continues it.
async fn outlive(field: &mut Field<'_>) -> anyhow::Result<()> {
    for victim in &mut field.victims {
        victim.ready().await?;
    }
    let (build, worker) = a_builder(field).await?;
    let zombie = field.named(&worker)?;
    zombie.signal(Signal::STOP)?;
    let taken = until("somebody else has the build", PATIENCE, async || {
        let at_work = at_work(field, &worker).await.ok()?;
        (!at_work.contains(&(build.clone(), worker.clone()))).then_some(())
    });
    let taken = taken.await;
    zombie.signal(Signal::CONT)?;
    field.victims.push(zombie);
    taken
}
