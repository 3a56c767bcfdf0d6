//! R8: the S3 server is slow, forgets, answers too late, and breaks off, while workers upload
//! to it and readers read; one worker is killed in the middle of an upload.

use shipway_testkit::s3::{Fault, Proxy, Seen};

use super::asker::{Asker, a_builder, begun_again, keep};
use super::{left, workers};
use crate::check::Violation;
use crate::ground::{Ground, Size};
use crate::load::Plan;
use crate::report::{Kill, Report};
use crate::runs::Stage;
use crate::runs::mutants::caught;
use crate::runs::storm::{Field, Storm};
use crate::scene::{Base, PATIENCE, Scene, until};
use shipway_stdx::clock::{Clock as _, HostClock};

const WORKERS: [(&str, &str); 2] = [("w0", "one"), ("w1", "two")];

pub(super) async fn run(stage: &Stage, ground: &Ground) -> anyhow::Result<Report> {
    let proxy = Proxy::before(ground.server).await;
    let rounds = stage.size(1, 20);
    let storm = storm(stage, ground, &proxy, "R8 builds", 2 * rounds, None).await?;
    // Who reads everything in the end is cut off, too.
    for at in [0, 1, 700_000] {
        proxy.order(1, Fault::Cut(at), Seen::is_read);
    }
    let mut asker = Asker::new(ground, stage.dice().fork(3));
    let (mut time, mut played) = (0, 0);
    let raged = storm.rage(async |field| {
        time += 1;
        if time % 2 == 0 {
            return cut_off(field, &mut asker, &proxy).await;
        }
        let wanted = proxy.played() + order(&proxy);
        for size in [Size::Large, Size::Small, Size::Large, Size::Small] {
            asker.ask(field, size).await?;
        }
        until("every fault was met", PATIENCE, async || (proxy.played() >= wanted).then_some(())).await
    });
    let (mut report, evidence, scene) = raged.await?;
    played += proxy.played();
    let builds = evidence.rows.builds.len();
    let again = begun_again(&evidence.rows.tasks);
    report.note(format!("{builds} builds, {again} begun more than once; {played} requests went wrong"));
    report.must(proxy.calm() == 0, "not every fault was met");
    report.must(again > 0, "no worker was killed in the middle of an upload");
    report.add(left::behind(&scene)?.into_iter().map(|what| Violation::new("I7", what)));
    report.keep(scene);
    Ok(report)
}

async fn storm(
    stage: &Stage,
    ground: &Ground,
    proxy: &Proxy,
    run: &str,
    times: usize,
    mutant: Option<&str>,
) -> anyhow::Result<Storm> {
    let mut scene = Scene::new(Base::Postgres)?;
    scene.lease = std::time::Duration::from_secs(4);
    scene.mutant = mutant.map(str::to_owned);
    let name = run.to_lowercase().replace(' ', "-");
    let store = ground.bucket(&name, proxy.address)?;
    let parts = workers(&mut scene, ground, &store, &WORKERS)?;
    keep(&mut scene, ground, store).await?;
    let plan = Plan { open_max: 10, ..Plan::mixed("w", 3) };
    Ok(Storm { run: run.to_owned(), scene, parts, plan, dice: stage.dice().fork(4), jobs: 0, times })
}

/// Orders one round of faults; returns how many there will be.
fn order(proxy: &Proxy) -> usize {
    proxy.order(3, Fault::SlowDown, |seen| seen.is_put() || seen.is_part());
    proxy.order(1, Fault::Say(500, "InternalError"), Seen::is_beginning);
    proxy.order(1, Fault::LoseAnswer, Seen::is_put);
    proxy.order(1, Fault::Refuse, Seen::is_part);
    proxy.order(1, Fault::LoseAnswer, Seen::is_completion);
    proxy.order(1, Fault::Say(404, "NoSuchUpload"), |seen| seen.is_part() && seen.query.contains("partNumber=2"));
    8
}

/// Kills a worker when some of its upload has arrived, and the rest cannot.
async fn cut_off(field: &mut Field<'_>, asker: &mut Asker<'_>, proxy: &Proxy) -> anyhow::Result<()> {
    until("nothing else is built", PATIENCE, async || {
        super::asker::at_work(field, "").await.ok()?.is_empty().then_some(())
    })
    .await?;
    proxy.forget();
    proxy.order(u32::MAX, Fault::SlowDown, |seen| seen.query.contains("partNumber=3"));
    asker.ask(field, Size::Large).await?;
    let arrived = async || (proxy.count(Seen::is_part) > 1).then_some(());
    let arrived = until("some of an upload has arrived", PATIENCE, arrived).await;
    let (_, worker) = a_builder(field).await?;
    let victim = field.named(&worker)?;
    let (config, wrapping) = (victim.config.clone(), victim.wrapping.clone());
    field.kills.push(Kill { worker, at: HostClock.now() });
    victim.kill()?;
    field.again(&config, &wrapping)?;
    // Those for who reads in the end are ordered anew.
    proxy.calm();
    for at in [0, 1, 700_000] {
        proxy.order(1, Fault::Cut(at), Seen::is_read);
    }
    arrived
}

/// A worker that publishes before the bytes are kept, on a server that takes none.
pub(super) async fn mutant(stage: &Stage, ground: &Ground) -> anyhow::Result<Report> {
    let proxy = Proxy::before(ground.server).await;
    let word = shipway_worker::mutants::PUBLISH_BEFORE_KEPT;
    let storm = storm(stage, ground, &proxy, word, 1, Some(word)).await?;
    proxy.order(u32::MAX, Fault::SlowDown, Seen::is_put);
    let mut asker = Asker::new(ground, stage.dice().fork(5));
    let raged = storm.rage(async |field| asker.ask(field, Size::Small).await);
    let (mut report, _, scene) = raged.await?;
    report.keep(scene);
    let mut turned = caught(&report, "I4");
    turned.seconds = report.seconds;
    Ok(turned)
}
