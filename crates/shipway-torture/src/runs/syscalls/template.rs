//! The state that every trial begins with: a service is live, and its next deploy waits.

use std::fs;
use std::path::Path;

use shipway_testkit::Postgres;

use crate::ledger::Asked;
use crate::load::{Load, Plan};
use crate::part::{Config, Place};
use crate::runs::kills;
use crate::scene::{Base, Scene};

/// The world's name.
const WORLD: &str = "here";

/// A state to be copied.
#[derive(Debug)]
pub(crate) struct Template {
    scene: Scene,
    asked: Vec<Asked>,
    mutant: Option<String>,
}

impl Template {
    /// Makes it.
    pub(crate) async fn make(base: Base, mutant: Option<&str>) -> anyhow::Result<Self> {
        let mut scene = Scene::new(base)?;
        let load = Load::new(Plan::mixed("r2", 1));
        let socket = scene.part("maker", WORLD)?.socket;
        for works in [true, false] {
            let part = Config { works, ..scene.part("maker", WORLD)? };
            let victim = kills::start(&[part]).await?.remove(0);
            load.deploy(&socket, &scene.ledger, "hello", Vec::new()).await?;
            if works {
                scene.settle(&socket).await?;
            }
            victim.stop().await?;
        }
        let asked = scene.ledger.all();
        Ok(Self { scene, asked, mutant: mutant.map(str::to_owned) })
    }

    /// A scene that is the same.
    pub(crate) fn copy(&self) -> anyhow::Result<Scene> {
        let scene = match self.scene.place() {
            Place::Sqlite(_) => Scene::new(Base::Sqlite)?,
            Place::Postgres(url) => {
                let database = url.rsplit('/').next().unwrap_or_default();
                Scene::copy_of(Postgres::shared(), database)?
            }
        };
        for name in ["shipway.sqlite", "shipway.sqlite-wal", "blobs", "worlds"] {
            copy(&self.scene.folder().join(name), &scene.folder().join(name))?;
        }
        for asked in &self.asked {
            scene.ledger.write(asked.clone())?;
        }
        Ok(scene)
    }

    /// Removes it.
    pub(crate) fn discard(self) {
        self.scene.discard();
    }

    /// A worker that does what is there to do, in the same order every time, and ends.
    pub(crate) fn worker(&self, scene: &mut Scene, name: &str) -> anyhow::Result<Config> {
        let part = scene.part(name, WORLD)?;
        Ok(Config { until_done: true, one_thread: true, mutant: self.mutant.clone(), ..part })
    }
}

/// Copies a file, or a folder with all that is in it; what is neither is left out.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(from) else { return Ok(()) };
    if metadata.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if metadata.is_file() {
        fs::copy(from, to)?;
    }
    Ok(())
}
