//! R11: one project floods the queue, and another one hardly notices.

use std::time::Duration;

use tokio::time::Instant;

use super::{Stage, kills};
use crate::check::Violation;
use crate::evidence::Evidence;
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::scene::{Base, Scene, Victim, until};

/// Requests of the one that asks for little, one after the other.
const FEW: usize = 40;

/// Nobody floods longer than this.
const FLOOD_LONGEST: Duration = Duration::from_secs(600);

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        reports.push(flood(stage, base).await?);
    }
    Ok(reports)
}

async fn flood(stage: &Stage, base: Base) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut scene = Scene::new(base)?;
    let victim = kills::start(&[scene.part("all", "here")?]).await?.remove(0);
    let quiet = Load::new(project("quiet", 20));
    few(stage, &quiet, &scene, &victim, FEW).await?;

    let noisy = Load::new(project("noisy", 60));
    let wanted = scene.ledger.acknowledged() + stage.size(300, 10_000);
    let enough = || scene.ledger.acknowledged() >= wanted || begun.elapsed() > FLOOD_LONGEST;
    let sockets = [victim.config.socket.clone()];
    let flood = (0..3).map(|n| noisy.run(&sockets, &scene.ledger, stage.dice().fork(n), enough));
    // The quiet one begins when the other's work has piled up.
    let meanwhile = async {
        let risen = async || (scene.ledger.acknowledged() >= wanted / 2).then_some(());
        until("the flood has risen", FLOOD_LONGEST, risen).await?;
        few(stage, &quiet, &scene, &victim, FEW).await
    };
    let (flooded, few) = tokio::join!(futures_util::future::try_join_all(flood), meanwhile);
    flooded.and(few)?;
    let settled = scene.settle(&victim.config.socket).await;
    victim.stop().await?;
    let evidence = scene.evidence().await?;
    let mut report = Report::of(&format!("R11 {}", base.word()), &evidence, &[]);
    report.add(settled.err().map(|error| Violation::new("I1", format!("{error:#}"))));
    compare(&mut report, &evidence);
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}

fn project(name: &str, services: usize) -> Plan {
    let projects = vec![name.to_owned()];
    Plan { projects, open_max: 2000, only_deploys: true, ..Plan::mixed(name, services) }
}

async fn few(stage: &Stage, load: &Load, scene: &Scene, victim: &Victim, times: usize) -> anyhow::Result<()> {
    let mut dice = stage.dice().fork(9);
    for _ in 0..times {
        load.ask_one(&victim.config.socket, &scene.ledger, &mut dice).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The waits of the quiet project, alone and in the flood.
fn compare(report: &mut Report, evidence: &Evidence) {
    let of = |project: &str| {
        let tasks = evidence.rows.tasks.iter().filter(|task| task.project == project && task.kind == "deploy");
        tasks.filter_map(|task| Some((task.claimed_at? - task.created_at) / 1000)).collect::<Vec<i64>>()
    };
    let (quiet, mut noisy) = (of("quiet"), of("noisy"));
    let (alone, flooded) = quiet.split_at(FEW.min(quiet.len()));
    let (mut alone, mut flooded) = (alone.to_vec(), flooded.to_vec());
    let [alone, flooded, noisy] = [&mut alone, &mut flooded, &mut noisy].map(|waits| p99(waits));
    report.note(format!(
        "p99 wait of the quiet one alone {alone} ms, in the flood {flooded} ms; of the flood {noisy} ms"
    ));
    // Every slot is taken when it comes, so it waits for one to be free, which says more about
    // the machine than about the queue: what counts is that it does not wait with the flood.
    let limit = (alone * 2).max(noisy / 2);
    report.must(noisy > flooded, "there was no flood");
    report.add((flooded > limit).then(|| Violation::new("R11", format!("it waited {flooded} ms, not {limit}"))));
}

fn p99(waits: &mut [i64]) -> i64 {
    waits.sort_unstable();
    waits.get(waits.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0)
}
