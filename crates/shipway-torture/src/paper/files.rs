//! The containers, as files: one JSON each, whole or not there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use shipway_model::{ContainerId, Micros};
use shipway_stdx::fs::remove_if_there;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paper {
    /// Its id.
    pub container: ContainerId,
    /// The service it was started for.
    pub service: String,
    /// The release it was started for.
    pub release: String,
    /// The request whose deploy made that release.
    pub nonce: String,
    /// What it is doing.
    pub state: State,
    /// Exit status; none when it was told to end.
    pub code: Option<i32>,
    /// When it was started, by its worker's clock.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs, as far as paper can.
    Running,
    /// It has ended, and is kept until it is removed.
    Exited,
}

/// Makes the folders, and removes what writers that are gone did not finish.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(containers(folder))?;
    fs::create_dir_all(drafts(folder))?;
    for entry in fs::read_dir(drafts(folder))? {
        let path = entry?.path();
        if !writer_lives(&path) {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn containers(folder: &Path) -> PathBuf {
    folder.join("containers")
}

fn drafts(folder: &Path) -> PathBuf {
    folder.join("drafts")
}

fn path(folder: &Path, container: ContainerId) -> PathBuf {
    containers(folder).join(format!("{container}.json"))
}

/// A draft ends in its writer's process id.
fn writer_lives(draft: &Path) -> bool {
    draft.extension().is_some_and(|pid| Path::new("/proc").join(pid).exists())
}

/// Adds a container, unless it is there. Returns whether it was not.
pub(super) fn add(folder: &Path, paper: &Paper) -> io::Result<bool> {
    let draft = draft(folder, paper)?;
    let path = path(folder, paper.container);
    match rustix::fs::renameat_with(CWD, &draft, CWD, &path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => remove_if_there(&draft).map(|_| false),
        Err(error) => {
            remove_if_there(&draft)?;
            Err(error.into())
        }
    }
}

/// Writes a container anew, unless it has gone. Returns whether it had not: the two change
/// places, which nobody can do with what is not there.
pub(super) fn replace(folder: &Path, paper: &Paper) -> io::Result<bool> {
    let draft = draft(folder, paper)?;
    let path = path(folder, paper.container);
    let exchanged = rustix::fs::renameat_with(CWD, &draft, CWD, &path, RenameFlags::EXCHANGE);
    remove_if_there(&draft)?;
    match exchanged {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn draft(folder: &Path, paper: &Paper) -> io::Result<PathBuf> {
    let draft = drafts(folder).join(format!("{}.{}", paper.container, std::process::id()));
    let mut file = fs::File::options().write(true).create(true).truncate(true).open(&draft)?;
    let written = file.write_all(&serde_json::to_vec(paper)?);
    if written.is_err() {
        remove_if_there(&draft)?;
    }
    written.map(|()| draft)
}

/// Reads one; `None` when it is not there.
pub(super) fn read(folder: &Path, container: ContainerId) -> io::Result<Option<Paper>> {
    match fs::read(path(folder, container)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes one; returns whether it was there.
pub(super) fn remove(folder: &Path, container: ContainerId) -> io::Result<bool> {
    remove_if_there(&path(folder, container))
}

/// Reads all, but those that go meanwhile.
pub(super) fn all(folder: &Path) -> io::Result<Vec<Paper>> {
    let mut papers = Vec::new();
    for name in names(&containers(folder))? {
        if let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) {
            papers.extend(read(folder, id)?);
        }
    }
    papers.sort_by_key(|paper| paper.container);
    Ok(papers)
}

/// Names of what is no container.
pub(super) fn scraps(folder: &Path) -> io::Result<Vec<String>> {
    names(&drafts(folder))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
