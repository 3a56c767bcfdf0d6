//! Tasks that nobody can do: one kills whoever begins with it, one is of a version that
//! nobody here knows. Both end, given up, and everything else is done.

use std::fs::{self, File};
use std::io::{BufReader, Write as _};

use anyhow::Context as _;
use shipway_store::Migrate;
use tokio::time::Instant;

use super::{Stage, kills};
use crate::check::Violation;
use crate::ledger::Asked;
use crate::load::{Load, Plan, unsettled};
use crate::paper::POISON;
use crate::part::Config;
use crate::report::Report;
use crate::scene::{Base, PATIENCE, Scene, Victim, until};

/// Deploys that are asked for together with the poison.
const INNOCENT: usize = 20;

pub(super) async fn run(_stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let [file, server] = Base::BOTH;
    // A poison task rests between its attempts: both at once.
    let (one, other) = tokio::try_join!(poison(file), poison(server))?;
    Ok(vec![one, other, newer(file).await?, newer(server).await?])
}

/// Workers die of it one after the other, and are started again, until it is given up.
async fn poison(base: Base) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut scene = Scene::new(base)?;
    let asker = Config { works: false, ..scene.part("all", "here")? };
    let victim = kills::start(std::slice::from_ref(&asker)).await?.remove(0);
    let load = Load::new(Plan::mixed("poison", 1));
    for n in 0..INNOCENT {
        let env = if n == INNOCENT / 2 { vec![(POISON.to_owned(), "1".to_owned())] } else { Vec::new() };
        load.deploy(&asker.socket, &scene.ledger, &format!("service-{n}"), env).await?;
    }
    victim.stop().await?;
    let worker = scene.part("all", "here")?;
    let mut victim = Victim::start(&worker)?;
    let mut deaths = 0;
    let settled = until("everything is done but the poison", PATIENCE, async || {
        if let Ok(Some(_)) = victim.ended() {
            deaths += 1;
            victim = Victim::start(&worker).ok()?;
        }
        matches!(unsettled(&worker.socket).await, Ok((0, 0, 0))).then_some(())
    })
    .await;
    victim.stop().await?;
    let mut report = Report::of(&format!("poison {}", base.word()), &scene.evidence().await?, &[]);
    report.kills = deaths;
    report.add(settled.err().map(|error| Violation::new("I5", format!("{error:#}"))));
    report.must(deaths > 1, "nobody died of the poison");
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}

/// A task as a later version might write it. The store's export is the way in.
async fn newer(base: Base) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut old = Scene::new(base)?;
    let asker = Config { works: false, ..old.part("all", "here")? };
    let victim = kills::start(std::slice::from_ref(&asker)).await?.remove(0);
    let load = Load::new(Plan::mixed("newer", 1));
    for n in 0..3 {
        load.deploy(&asker.socket, &old.ledger, &format!("service-{n}"), Vec::new()).await?;
    }
    victim.stop().await?;
    old.evidence().await?;

    let mut scene = Scene::new(base)?;
    let strange = old.ledger.all().first().context("three were asked for")?.clone();
    let file = scene.folder().join("strange.jsonl");
    make_strange(&fs::read_to_string(old.folder().join("export.jsonl"))?, &strange.nonce, &file)?;
    let store = scene.place().open(Migrate::Yes).await?;
    store.import(BufReader::new(File::open(&file)?)).await?;
    store.close().await;
    for asked in old.ledger.all() {
        let poison = asked.nonce == strange.nonce;
        scene.ledger.write(Asked { poison, ..asked })?;
    }
    fs::rename(old.folder().join("blobs"), scene.folder().join("blobs"))?;
    old.discard();
    let victim = kills::start(&[scene.part("all", "here")?]).await?.remove(0);
    let settled = scene.settle(&victim.config.socket).await;
    victim.stop().await?;
    let mut report = Report::of(&format!("newer payload {}", base.word()), &scene.evidence().await?, &[]);
    report.add(settled.err().map(|error| Violation::new("I5", format!("{error:#}"))));
    report.took(begun.elapsed());
    report.keep(scene);
    Ok(report)
}

/// Writes the export anew, with the payload of one task as nobody here knows it.
fn make_strange(export: &str, nonce: &str, file: &std::path::Path) -> anyhow::Result<()> {
    let mut out = File::create(file)?;
    for line in export.lines() {
        let mut line: serde_json::Value = serde_json::from_str(line)?;
        if line["table"] == "task" && line["row"]["actor"] == nonce {
            line["row"]["payload"] = serde_json::json!(r#"{"task":"teleport","where":"to"}"#);
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}
