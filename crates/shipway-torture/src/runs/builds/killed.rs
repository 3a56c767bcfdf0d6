//! Workers are killed while they build, and on PostgreSQL the last ones are stopped past
//! their leases, outlived, and continued: what they write then is too late.

use std::time::Duration;

use shipway_stdx::clock::{Clock as _, HostClock};
use tokio::time::{Instant, sleep};

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
const PAUSE_MOST: Duration = Duration::from_millis(2_000);

/// Builds asked for before each kill.
const BETWEEN: usize = 2;

/// Builds that are tried for a zombie's, and how long one may be in nobody's hands until it is
/// taken for published.
const OUTLIVE_TRIES: usize = 5;
const NOBODYS_MOST: Duration = Duration::from_secs(10);

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
        match time {
            _ if time > kills => outlive(field, &mut asker).await,
            _ => kill(field, time == kills).await,
        }
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
/// `at_once`: as soon as it is seen to build.
async fn kill(field: &mut Field<'_>, at_once: bool) -> anyhow::Result<()> {
    let (_, worker) = a_builder(field).await?;
    if !at_once {
        sleep(field.dice.between(Duration::ZERO, PAUSE_MOST)).await;
    }
    if !at_once && field.dice.below(ANY) == 0 {
        return field.kill_any();
    }
    let victim = field.named(&worker)?;
    let (config, wrapping) = (victim.config.clone(), victim.wrapping.clone());
    field.kills.push(Kill { worker, at: HostClock.now() });
    victim.kill()?;
    field.again(&config, &wrapping)
}

/// Stops a worker that builds until somebody else has its build, and continues it. A build
/// that was published just then is nobody's any more: another one is tried.
async fn outlive(field: &mut Field<'_>, asker: &mut Asker<'_>) -> anyhow::Result<()> {
    for victim in &mut field.victims {
        victim.ready().await?;
    }
    for _ in 0..OUTLIVE_TRIES {
        let (build, worker) = a_builder(field).await?;
        let zombie = field.named(&worker)?;
        zombie.signal(Signal::STOP)?;
        let taken = taken(field, &build, &worker).await;
        zombie.signal(Signal::CONT)?;
        field.victims.push(zombie);
        if taken? {
            return Ok(());
        }
        asker.ask(field, Size::Small).await?;
    }
    anyhow::bail!("no build was taken over in {OUTLIVE_TRIES} tries")
}

/// Waits until a build is in other hands; whether it ever is.
async fn taken(field: &Field<'_>, build: &str, from: &str) -> anyhow::Result<bool> {
    let mut nobodys: Option<Instant> = None;
    until("somebody else has the build", PATIENCE, async || {
        let at_work = at_work(field, from).await.ok()?;
        match at_work.iter().find(|(id, _)| id == build) {
            Some((_, worker)) if worker == from => None,
            Some(_) => Some(true),
            None => (nobodys.get_or_insert_with(Instant::now).elapsed() > NOBODYS_MOST).then_some(false),
        }
    })
    .await
}
