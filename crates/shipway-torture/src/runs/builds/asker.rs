//! Who asks for builds, and looks who makes them.

use std::path::PathBuf;

use anyhow::bail;
use shipway_gobuild::Spec;

use crate::dice::Dice;
use crate::ground::{Ground, Size};
use crate::ledger::{Asked, Ledger};
use crate::load::ask;
use crate::part::api::{Answer, Ask};
use crate::runs::storm::Field;
use crate::scene::{PATIENCE, Scene, until};

/// One build in so many is asked for by two at once.
const TWICE: usize = 3;

/// Asks for one build after the other; each has a mark of its own.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) ground: &'a Ground,
    pub(super) dice: Dice,
    /// Builds asked for so far.
    pub(super) asked: usize,
    /// Requests made so far.
    requests: usize,
}

impl<'a> Asker<'a> {
    pub(super) const fn new(ground: &'a Ground, dice: Dice) -> Self {
        Self { ground, dice, asked: 0, requests: 0 }
    }

    /// Asks for another build, of whoever answers, until one has. Some are asked for twice.
    pub(super) async fn ask(&mut self, field: &Field<'_>, size: Size) -> anyhow::Result<()> {
        self.asked += 1;
        let spec = self.ground.spec(self.asked, size).await?;
        let times = if self.dice.below(TWICE) == 0 { 2 } else { 1 };
        for _ in 0..times {
            self.insist(&sockets(field), &field.scene.ledger, &spec).await?;
        }
        Ok(())
    }

    async fn insist(&mut self, sockets: &[PathBuf], ledger: &Ledger, spec: &Spec) -> anyhow::Result<()> {
        until("somebody accepts a build", PATIENCE, async || {
            self.requests += 1;
            let nonce = format!("build-{}", self.requests);
            let question = Ask::Build { nonce: nonce.clone(), spec: spec.to_json() };
            let build = match ask(self.dice.one_of::<PathBuf>(sockets), &question).await {
                Ok(Answer::Building { build }) => Some(build.to_string()),
                Ok(_) => return None,
                // Nobody knows what became of it.
                Err(_) => None,
            };
            let asked = Asked { nonce, kind: "build".to_owned(), poison: false, task: None, build };
            let is_acknowledged = asked.is_acknowledged();
            let written = ledger.write(asked).map_err(Into::into);
            (is_acknowledged || written.is_err()).then_some(written)
        })
        .await?
    }
}

fn sockets(field: &Field<'_>) -> Vec<PathBuf> {
    field.victims.iter().map(|victim| victim.config.socket.clone()).collect()
}

/// Builds at work, each with its worker, as whoever answers knows.
pub(super) async fn at_work(field: &Field<'_>, besides: &str) -> anyhow::Result<Vec<(String, String)>> {
    for victim in field.victims.iter().filter(|victim| victim.config.name != besides) {
        if let Ok(Answer::Builds { at_work }) = ask(&victim.config.socket, &Ask::Builds).await {
            return Ok(at_work.into_iter().map(|(build, worker)| (build.to_string(), worker)).collect());
        }
    }
    bail!("nobody answers")
}

/// Waits until somebody makes a build, and says which and who.
pub(super) async fn a_builder(field: &Field<'_>) -> anyhow::Result<(String, String)> {
    let is_there = |worker: &str| field.victims.iter().any(|victim| victim.config.name == worker);
    until("a build is at work", PATIENCE, async || {
        at_work(field, "").await.ok()?.into_iter().find(|(_, worker)| is_there(worker))
    })
    .await
}

/// Builds that took more than one worker, or more than one try.
pub(super) fn begun_again(scene: &[crate::evidence::Task]) -> usize {
    scene.iter().filter(|task| task.kind == "build" && task.attempt > 1).count()
}

/// Where artifacts are, and by which key they are signed, for who reads them in the end.
pub(super) async fn keep(
    scene: &mut Scene,
    ground: &Ground,
    store: crate::part::farm::StorePlace,
) -> anyhow::Result<()> {
    scene.kept = Some((store, ground.public_key().await?));
    Ok(())
}
