//! R4: the database is restarted, its sessions are killed, it has no room for another
//! connection, a pooler stands before it, and notices are lost on a connection that only
//! seems to live.

mod crowd;
mod relay;

use std::time::Duration;

use shipway_model::FailureCode;
use shipway_testkit::{Pooler, Postgres, Stop};
use tokio::time::{Instant, sleep};

use super::storm::{Field, Storm};
use super::{Stage, kills};
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::scene::{Base, Scene, until};
use crowd::Crowd;
use relay::Relay;

/// Connections of a server that is easily crowded: enough for four parts, and few more.
const CONNECTIONS: usize = 40;

/// How long it stays crowded, or away.
const MEANWHILE: Duration = Duration::from_millis(700);

/// With its notices lost, a worker looks by the clock.
const PICKED_UP: Duration = Duration::from_secs(5);

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let server = Postgres::start()?;
    let restarts = stage.size(10, 200);
    let mut reports = vec![
        hurt(stage, "R4 restarts", &server, restarts, async |field| {
            field.wait_for_work().await?;
            server.stop(Stop::Immediate)?;
            sleep(field.dice.between(Duration::ZERO, MEANWHILE)).await;
            Ok(server.resume()?)
        })
        .await?,
        hurt(stage, "R4 killed sessions", &server, stage.size(10, 2000), async |field| {
            field.wait_for_work().await?;
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'
                AND pid <> pg_backend_pid()";
            server.query("postgres", sql)?;
            Ok(())
        })
        .await?,
    ];
    server.query("postgres", &format!("ALTER SYSTEM SET max_connections = {CONNECTIONS}"))?;
    server.stop(Stop::Fast)?;
    server.resume()?;
    reports.push(
        hurt(stage, "R4 crowded", &server, stage.size(10, 100), async |field| {
            field.wait_for_work().await?;
            let crowd = Crowd::gather(server.socket_folder(), CONNECTIONS).await;
            // Those who find no room are killed as well, and must come back in.
            field.kill_any()?;
            sleep(MEANWHILE).await;
            drop(crowd);
            Ok(())
        })
        .await?,
    );
    reports.push(pooled(stage, &server).await?);
    reports.push(deaf(stage, &server).await?);
    Ok(reports)
}

async fn hurt(
    stage: &Stage,
    run: &str,
    server: &Postgres,
    times: usize,
    how: impl AsyncFnMut(&mut Field<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Report> {
    let (mut report, evidence, scene) = storm(stage, run, Scene::on(server)?, times)?.rage(how).await?;
    // Tried five times within seconds, and each time the database went away: said so, in these words.
    let excused = report.excuse(&evidence, &[FailureCode::StorageUnavailable]);
    report.note(format!("{excused} tasks failed because the database went away each time they were tried"));
    report.must(excused * 10 <= report.jobs, "most tasks failed");
    report.keep(scene);
    Ok(report)
}

fn storm(stage: &Stage, run: &str, mut scene: Scene, times: usize) -> anyhow::Result<Storm> {
    let parts = kills::parts(&mut scene, Base::Postgres)?;
    let plan = Plan { open_max: 40, ..Plan::mixed("r4", 10) };
    Ok(Storm { run: run.to_owned(), scene, parts, plan, dice: stage.dice(), jobs: 0, times })
}

/// All of it through `PgBouncer` in transaction mode, and workers are killed as well.
async fn pooled(stage: &Stage, server: &Postgres) -> anyhow::Result<Report> {
    let pooler = Pooler::start(server)?;
    let scene = Scene::at_url(&pooler.url(&server.create(None)?))?;
    let storm = storm(stage, "R4 behind a pooler", scene, stage.size(10, 100))?;
    storm
        .check(async |field| {
            field.wait_for_work().await?;
            field.kill_any()
        })
        .await
}

/// The connections that listen are frozen: open, and dead. Work is picked up by the clock.
async fn deaf(stage: &Stage, server: &Postgres) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let relay = Relay::before(server.socket_folder()).await?;
    let mut scene = Scene::at_url(&relay.url(&server.create(None)?))?;
    let api = crate::part::Config { works: false, ..scene.part("api", "one")? };
    let worker = scene.part("worker", "one")?;
    let mut victims = kills::start(&[api, worker]).await?;
    let socket = victims[0].config.socket.clone();
    let load = Load::new(Plan::mixed("r4", 1));
    let mut slowest = Duration::ZERO;
    let times = stage.size(10, 100);
    let store = scene.place().open(shipway_store::Migrate::No).await?;
    for n in 0..times {
        relay.freeze_listeners();
        let asked = Instant::now();
        let task = load.deploy(&socket, &scene.ledger, &format!("service-{n}"), Vec::new()).await?.parse()?;
        let taken = until("it is picked up without a notice", PICKED_UP, async || {
            let task = store.find_task(task).await.ok()??;
            (task.attempt > 0).then_some(())
        });
        taken.await?;
        slowest = slowest.max(asked.elapsed());
    }
    store.close().await;
    let settled = scene.settle(&socket).await;
    let frozen = relay.frozen();
    // From here on it lets nothing through.
    for victim in victims.drain(..) {
        victim.stop().await?;
    }
    let mut report = Report::of("R4 deaf", &scene.evidence().await?, &[]);
    report.kills = times;
    report.note(format!("{frozen} listening connections frozen; picked up within {} ms", slowest.as_millis()));
    report.must(frozen >= 2, "nobody listened");
    report.add(settled.err().map(|error| crate::check::Violation::new("I1", format!("{error:#}"))));
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}
