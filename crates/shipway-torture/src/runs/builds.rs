//! R1 and R8 with builds in the mix: real Go builds, in the real sandbox, signed, kept in S3.
//!
//! While deploys go on, builds are asked for, and whoever makes them is killed at a random
//! moment, or stopped until others have taken over and then continued (`killed`). Or it is
//! the S3 server that is hurt, by a proxy before it (`weather`).

mod asker;
mod killed;
mod left;
mod weather;

use anyhow::Context as _;

use super::Stage;
use crate::ground::Ground;
use crate::part::Config;
use crate::part::farm::StorePlace;
use crate::report::Report;
use crate::scene::{Base, Scene, Wrapping};

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let ground = Ground::lay().await.context("what builds stand on")?;
    let mut reports = Vec::new();
    for base in Base::BOTH {
        reports.push(killed::run(stage, &ground, base).await?);
    }
    reports.push(weather::run(stage, &ground).await?);
    reports.push(weather::mutant(stage, &ground).await?);
    Ok(reports)
}

/// Workers with a farm each, of these names and engines.
fn workers(
    scene: &mut Scene,
    ground: &Ground,
    store: &StorePlace,
    names: &[(&str, &str)],
) -> anyhow::Result<Vec<(Config, Wrapping)>> {
    let mut parts = Vec::new();
    for (name, world) in names {
        let farm = ground.farm(&scene.folder().join("farms").join(name), store)?;
        parts.push((Config { farm: Some(farm), ..scene.part(name, world)? }, Wrapping::default()));
    }
    Ok(parts)
}
