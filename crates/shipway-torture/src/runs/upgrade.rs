//! R9: two versions at once. Under load the parts are replaced one by one by the next
//! version, and then by this one again.
//!
//! The next version is this program, told to be it: its store has a migration that adds a
//! column and a table, writes both, and writes restarts in a form that nobody before it reads.
//! The first that starts is killed between the last statement of its migration and the commit.
//!
//! On PostgreSQL it goes as an operator is told to do it: workers first, then the api; back
//! the other way round, and the workers only when nothing is open that they could not read.
//! On SQLite the one process is replaced.

mod taken_away;

use std::fs;
use std::path::Path;

use anyhow::ensure;
use shipway_stdx::clock::{Clock as _, HostClock};
use shipway_store::Store;
use shipway_store::next_version::Version;

use super::Stage;
use super::storm::{Field, Storm};
use crate::load::Plan;
use crate::part::Config;
use crate::part::journal::{self, Line};
use crate::report::{Kill, Report};
use crate::scene::{Base, PATIENCE, Scene, Victim, Wrapping, until};

/// Requests that are acknowledged at least, in one going there and back.
const JOBS: usize = 150;

/// Parts on PostgreSQL: name, engine, whether it works. In the order of an upgrade.
const PARTS: [(&str, &str, bool); 4] =
    [("w0", "one", true), ("w1", "shared", true), ("w2", "shared", true), ("api", "one", false)];

/// The same on SQLite.
const ALONE: [(&str, &str, bool); 1] = [("all", "here", true)];

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for round in 0..stage.size(1, 10) {
        for base in Base::BOTH {
            reports.push(there_and_back(stage, base, round).await?);
        }
    }
    reports.push(taken_away::run(stage, Version::AfterNext).await?);
    Ok(reports)
}

/// A version whose migration takes away and does not say so.
pub(super) async fn unsaid(stage: &Stage) -> anyhow::Result<Report> {
    taken_away::run(stage, Version::AfterNextUnsaid).await
}

/// A part, as either version.
#[derive(Debug, Clone)]
struct Part {
    old: Config,
    new: Config,
}

impl Part {
    /// They are the same worker, but each version has a journal of its own.
    fn new(scene: &mut Scene, (name, world, works): (&str, &str, bool), version: Version) -> anyhow::Result<Self> {
        let old = Config { works, ..scene.part(name, world)? };
        let journal = scene.part(&format!("{name}-next"), world)?.journal;
        let new = Config { journal, version, ..old.clone() };
        Ok(Self { old, new })
    }

    fn all(scene: &mut Scene, base: Base, version: Version) -> anyhow::Result<Vec<Self>> {
        let all: &[_] = match base {
            Base::Sqlite => &ALONE,
            Base::Postgres => &PARTS,
        };
        all.iter().map(|part| Self::new(scene, *part, version)).collect()
    }
}

/// One thing after the other; between two of them work goes on.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The next version takes the place of a part; whether one is killed in its migration.
    Up(usize, bool),
    /// A task that only the next version can read is asked for, for somebody who cannot.
    Ask,
    /// Both versions finish tasks, and a part is killed.
    Both,
    /// Nothing is left that only the next version can read.
    Read,
    /// This version takes the place of a part.
    Down(usize),
}

fn steps(base: Base) -> Vec<Step> {
    use Step::{Ask, Both, Down, Read, Up};
    match base {
        Base::Sqlite => vec![Up(0, true), Ask, Read, Down(0)],
        Base::Postgres => {
            let up = [Up(0, true), Ask, Up(1, false), Both, Up(2, false), Up(3, false)];
            let down = [Down(3), Read, Down(2), Both, Down(1), Down(0)];
            [up, down].concat()
        }
    }
}

async fn there_and_back(stage: &Stage, base: Base, round: usize) -> anyhow::Result<Report> {
    let mut scene = Scene::new(base)?;
    scene.version = Version::Next;
    let parts = Part::all(&mut scene, base, Version::Next)?;
    let steps = steps(base);
    // The one process that goes back must find nothing that only the other could read; where
    // there are apis they go back first.
    let plan = Plan { only_deploys: base == Base::Sqlite, open_max: 20, ..Plan::mixed("r9", 10) };
    let storm = Storm {
        run: format!("R9 {} {}", base.word(), round + 1),
        scene,
        parts: parts.iter().map(|part| (part.old.clone(), Wrapping::default())).collect(),
        plan,
        dice: stage.dice().fork(u64::try_from(round)?),
        jobs: JOBS,
        times: steps.len(),
    };
    let (mut next, mut kills) = (steps.into_iter(), 0);
    let raged = storm.rage(async |field| {
        field.wait_for_work().await?;
        take(field, &parts, next.next().expect("it is done as often as there are steps")).await?;
        kills = field.kills.len();
        Ok(())
    });
    let (mut report, _, scene) = raged.await?;
    report.kills = kills;
    prove(&mut report, &scene, &parts).await?;
    report.keep(scene);
    Ok(report)
}

async fn take(field: &mut Field<'_>, parts: &[Part], step: Step) -> anyhow::Result<()> {
    match step {
        Step::Up(place, killed) => {
            let new = &parts[place].new;
            stop(field, &new.name).await?;
            if killed {
                let kill = kill_in_migration(field, new).await?;
                field.kills.push(kill);
            }
            begin(field, new).await?;
            more(&[new]).await
        }
        Step::Ask => ask_for_next(field, parts).await,
        Step::Both => {
            field.kill_any()?;
            let workers = || parts.iter().filter(|part| part.old.works);
            let old: Vec<_> = workers().map(|part| &part.old).collect();
            let new: Vec<_> = workers().map(|part| &part.new).collect();
            tokio::try_join!(more(&old), more(&new)).map(drop)
        }
        Step::Read => {
            let store = field.scene.place().open_as(Version::Next).await?;
            let read = async || matches!(store.open_for_next().await, Ok(0)).then_some(());
            let read = until("nothing is open that only the next version can read", PATIENCE, read).await;
            store.close().await;
            read
        }
        Step::Down(place) => {
            let old = &parts[place].old;
            stop(field, &old.name).await?;
            begin(field, old).await?;
            more(&[old]).await
        }
    }
}

/// Asks a part to stop; before it answers, any signal ends it badly.
async fn stop(field: &mut Field<'_>, name: &str) -> anyhow::Result<()> {
    let mut victim = field.named(name)?;
    victim.ready().await?;
    victim.stop().await
}

/// Starts a part, and waits until it answers.
async fn begin(field: &mut Field<'_>, config: &Config) -> anyhow::Result<()> {
    let mut victim = Victim::start(config)?;
    victim.ready().await?;
    field.victims.push(victim);
    Ok(())
}

/// Kills a part when all of its migration is done, and nothing committed.
async fn kill_in_migration(field: &Field<'_>, config: &Config) -> anyhow::Result<Kill> {
    let told = field.scene.folder().join(format!("{}.halted", config.name));
    let victim = Victim::start(&Config { halt: Some(told.clone()), ..config.clone() })?;
    until("it is in the middle of its migration", PATIENCE, async || told.exists().then_some(())).await?;
    let kill = Kill { worker: config.name.clone(), at: HostClock.now() };
    victim.kill()?;
    Ok(kill)
}

/// Has a part of the next version asked for restarts: of a service, where there are others,
/// whose worker is of this version and cannot read them.
async fn ask_for_next(field: &mut Field<'_>, parts: &[Part]) -> anyhow::Result<()> {
    let store = field.scene.place().open_as(Version::Next).await?;
    let socket = &parts[0].new.socket;
    let (load, ledger, mut dice) = (field.load, &field.scene.ledger, field.dice.fork(9));
    let mut accepted = 0;
    let asked = until("somebody has met what he cannot read", PATIENCE, async || {
        accepted += u32::from(load.restart_any(socket, ledger, &mut dice).await.ok()?);
        let met = parts.len() == 1 || store.left_to_newer().await.ok()? > 0;
        (accepted > 0 && met).then_some(())
    })
    .await;
    store.close().await;
    asked
}

/// Waits until workers among these have finished something more.
async fn more(configs: &[&Config]) -> anyhow::Result<()> {
    if !configs.iter().any(|config| config.works) {
        return Ok(());
    }
    let before = finished(configs.iter().copied())?;
    let has_more = async || (finished(configs.iter().copied()).ok()? > before).then_some(());
    until("a version finishes tasks beside the other", PATIENCE, has_more).await
}

/// How many tasks their workers say they have finished.
fn finished<'a>(configs: impl Iterator<Item = &'a Config>) -> anyhow::Result<usize> {
    let mut sum = 0;
    for config in configs {
        sum += done(&config.journal)?;
    }
    Ok(sum)
}

fn done(path: &Path) -> anyhow::Result<usize> {
    let is_done = |line: &Line| matches!(line, Line::Left(left) if left.how == "Done");
    Ok(journal::read(path)?.iter().filter(|line| is_done(line)).count())
}

/// Both versions have worked, and what only the next one wrote is still there.
async fn prove(report: &mut Report, scene: &Scene, parts: &[Part]) -> anyhow::Result<()> {
    let old = finished(parts.iter().map(|part| &part.old))?;
    let new = finished(parts.iter().map(|part| &part.new))?;
    let store = scene.place().open_as(Version::Next).await?;
    let figures = figures(&store).await;
    store.close().await;
    let (noted, left) = figures?;
    report.note(format!("{old} tasks finished by this version, {new} by the next; {left} left by this to the next"));
    report.must(old > 0 && new > 0, "one of the versions did nothing");
    report.must(noted >= i64::try_from(new)?, "what the next version noted of its ends was not kept");
    report.must(parts.len() == 1 || left > 0, "nobody of this version met what only the next can read");
    let halted =
        fs::read_dir(scene.folder())?.flatten().filter(|file| file.path().extension() == Some("halted".as_ref()));
    ensure!(halted.count() == 1, "no migration was killed in its middle");
    Ok(())
}

async fn figures(store: &Store) -> anyhow::Result<(i64, i64)> {
    Ok((store.ends_noted().await?, store.left_to_newer().await?))
}
