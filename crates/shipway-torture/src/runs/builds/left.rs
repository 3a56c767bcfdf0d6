//! What farms have left behind when their workers have ended: containers, processes, mounts,
//! cgroups, namespaces, loop devices, binaries. A journal of an upload may stay until its
//! worker's next start.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::part::farm::RUN_PARENT;
use crate::runs::platform::left_behind;
use crate::scene::Scene;

/// All of it, in words.
pub(super) fn behind(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(scene.folder().join("farms"))? {
        left.extend(of(&entry?.path())?);
    }
    Ok(left)
}

fn of(farm: &Path) -> anyhow::Result<Vec<String>> {
    let instance = fs::read_to_string(farm.join("engine/instance")).context("the engine root's id")?;
    let run = Path::new(RUN_PARENT).join(instance.trim());
    let mut left = left_behind(farm, &run, instance.trim())?;
    left.extend(run.exists().then(|| run.display().to_string()));
    for folder in ["engine/containers", "out"] {
        let entries = fs::read_dir(farm.join(folder)).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| path.extension() != Some("upload".as_ref()));
        left.extend(paths.map(|path| path.display().to_string()));
    }
    left.extend(loops(farm)?);
    Ok(left)
}

/// Loop devices whose file is below this folder, removed or not.
fn loops(farm: &Path) -> anyhow::Result<Vec<String>> {
    let folder = farm.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let path = entry?.path();
        let file = fs::read_to_string(path.join("loop/backing_file")).unwrap_or_default();
        found.extend(file.starts_with(&folder).then(|| format!("{} on {}", path.display(), file.trim())));
    }
    Ok(found)
}
