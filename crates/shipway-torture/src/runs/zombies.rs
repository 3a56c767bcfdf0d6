//! R3: workers are stopped in the middle of their tasks until others have taken them over,
//! and then go on without knowing. All that they write is too late.
//!
//! On SQLite there is nobody else: the one process takes its own tasks away from itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Stage, kills};
use crate::check::Violation;
use crate::load::{Load, Plan, counts};
use crate::paper::{GATE, PaperWorld, SLOW};
use crate::part::Config;
use crate::report::Report;
use crate::scene::{Base, PATIENCE, Scene, Signal, Victim, until};

/// Tasks of each zombie.
const TASKS: usize = 10;

/// Of those who take over: a hundred leases of a second are more heartbeats than a busy
/// machine has time for.
const HEIRS_LEASE: Duration = Duration::from_secs(5);

/// What zombies have for their writes while those who hold the tasks now stand still: they
/// must come while somebody else is at work, not when all is done.
const HEAD_START: Duration = Duration::from_millis(400);

/// What stands still on SQLite, and how often.
const STOP: Duration = Duration::from_millis(1500);
const STOPS: usize = 5;

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for round in 0..stage.size(1, 20) {
        let scene = Scene::new(Base::Postgres)?;
        reports.push(zombies(&format!("R3 postgres {}", round + 1), scene, 10).await?);
    }
    reports.push(alone(stage).await?);
    Ok(reports)
}

/// So many processes of ten tasks each are stopped, outlived, and continued.
pub(super) async fn zombies(run: &str, mut scene: Scene, processes: usize) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let api = Config { works: false, ..scene.part("api", "cluster")? };
    let api = kills::start(&[api]).await?.remove(0);
    let load = Load::new(Plan::mixed("r3", 1));
    let tasks = processes * TASKS;
    for n in 0..tasks {
        let gate = vec![(GATE.to_owned(), "1".to_owned())];
        load.deploy(&api.config.socket, &scene.ledger, &format!("service-{n}"), gate).await?;
    }
    let names = (0..processes).map(|n| format!("zombie-{n}"));
    let zombies = names.map(|name| Ok(Config { concurrency: TASKS, ..scene.part(&name, "cluster")? }));
    let zombies = kills::start(&zombies.collect::<anyhow::Result<Vec<_>>>()?).await?;
    let all = u64::try_from(tasks)?;
    let asked = begun.elapsed();
    at_work(&api, all).await?;
    let claimed = begun.elapsed();
    zombies.iter().try_for_each(|zombie| zombie.signal(Signal::STOP))?;

    scene.lease = HEIRS_LEASE;
    let others = ["heir-0", "heir-1"].map(|name| Ok(Config { concurrency: tasks, ..scene.part(name, "cluster")? }));
    let heirs: Vec<Victim> = kills::start(&others.into_iter().collect::<anyhow::Result<Vec<_>>>()?).await?;
    outlived(&scene, &heirs, all).await?;
    let outlived = begun.elapsed();
    heirs.iter().try_for_each(|heir| heir.signal(Signal::STOP))?;
    PaperWorld::open(&api.config.world)?.open_gate()?;
    zombies.iter().try_for_each(|zombie| zombie.signal(Signal::CONT))?;
    sleep(HEAD_START).await;
    heirs.iter().try_for_each(|heir| heir.signal(Signal::CONT))?;

    let settled = scene.settle(&api.config.socket).await;
    let at_rest = begun.elapsed();
    for victim in zombies.into_iter().chain(heirs).chain([api]) {
        victim.stop().await?;
    }
    let mut report = Report::of(run, &scene.evidence().await?, &[]);
    report.kills = tasks;
    report.add(settled.err().map(|error| Violation::new("I1", format!("{error:#}"))));
    let at = [asked, claimed, outlived, at_rest].map(|at| at.as_secs());
    report.note(format!("asked, claimed, outlived, at rest after {at:?} s"));
    report.must(report.stale_rejected >= all, "not every zombie was rejected");
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}

/// Waits until so many tasks are at work.
async fn at_work(api: &Victim, all: u64) -> anyhow::Result<()> {
    until("all tasks are at work", PATIENCE, async || {
        counts(&api.config.socket).await.ok().filter(|(_, running)| *running == all)
    })
    .await
    .map(drop)
}

/// Waits until the heirs hold everything: then nothing is queued, and all is theirs.
async fn outlived(scene: &Scene, heirs: &[Victim], all: u64) -> anyhow::Result<()> {
    let store = scene.place().open(shipway_store::Migrate::No).await?;
    let held = until("others have taken over", PATIENCE, async || {
        let mut held = 0;
        for heir in heirs {
            held += held_by(&store, &heir.config).await?;
        }
        (held == all).then_some(())
    })
    .await;
    store.close().await;
    held
}

async fn held_by(store: &shipway_store::Store, config: &Config) -> Option<u64> {
    let workers = store.list_workers().await.ok()?;
    Some(workers.iter().find(|worker| worker.facts.id == config.name)?.running)
}

/// SQLite's one process stands still for longer than a lease, again and again.
async fn alone(stage: &Stage) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut scene = Scene::new(Base::Sqlite)?;
    let part = scene.part("all", "here")?;
    let victim = kills::start(&[part]).await?.remove(0);
    let load = Load::new(Plan { env: vec![(SLOW.to_owned(), "200".to_owned())], ..Plan::mixed("r3", 10) });
    let mut dice = stage.dice();
    let stops = stage.size(STOPS, 50);
    for _ in 0..stops {
        for _ in 0..15 {
            load.ask_one(&victim.config.socket, &scene.ledger, &mut dice).await?;
        }
        victim.signal(Signal::STOP)?;
        sleep(STOP).await;
        victim.signal(Signal::CONT)?;
    }
    let settled = scene.settle(&victim.config.socket).await;
    victim.stop().await?;
    let mut report = Report::of("R3 sqlite", &scene.evidence().await?, &[]);
    report.kills = stops;
    report.add(settled.err().map(|error| Violation::new("I1", format!("{error:#}"))));
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}
