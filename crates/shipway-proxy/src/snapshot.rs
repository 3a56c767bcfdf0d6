//! The last good routes on disk, so that a proxy that starts while the control
//! plane is away serves what the one before it served.
//!
//! One JSON object a line: a head, then a route each, then a foot that tells a
//! whole file from a cut one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::table::Table;
use crate::wire::{Route, VERSION};

/// Name of the file in the snapshot directory.
const FILE: &str = "routes.json";

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Foot {
    routes: usize,
}

/// Why there is nothing to load.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the file of routes could not be read")]
    Io(#[from] io::Error),
    #[error("the file of routes is damaged")]
    Damaged(#[from] serde_json::Error),
    #[error("the file of routes ends early")]
    Cut,
    #[error("the file of routes is of version {0}, newer than this program")]
    Newer(u32),
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Writes all routes; a crash leaves the old file or the new one.
pub(crate) fn save(folder: &Path, table: &Table) -> io::Result<()> {
    let new = folder.join(format!(".{FILE}.new"));
    let written = write(&new, table).and_then(|()| fs::rename(&new, path(folder)));
    if written.is_err() {
        // The first error is the one worth telling; the file may not even exist.
        drop(fs::remove_file(&new));
    }
    written
}

fn write(path: &Path, table: &Table) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);
    line(&mut file, &Head { version: VERSION })?;
    let (mut routes, mut result) = (0, Ok(()));
    table.for_each_route(|route| {
        if result.is_ok() {
            result = line(&mut file, &route);
            routes += 1;
        }
    });
    result?;
    line(&mut file, &Foot { routes })?;
    file.flush()
}

fn line(file: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}

/// Reads the routes into `table`; returns how many there were.
///
/// The file is read twice rather than held: first to see that it is whole, so that
/// a damaged one changes nothing.
pub(crate) fn load(folder: &Path, table: &Table) -> Result<usize, LoadError> {
    let path = path(folder);
    read(&path, |_| {})?;
    let snapshot = table.begin_snapshot();
    let routes = read(&path, |route| table.upsert_in(snapshot, &route))?;
    table.end_snapshot(snapshot);
    Ok(routes)
}

fn read(path: &Path, mut each: impl FnMut(Route)) -> Result<usize, LoadError> {
    let mut lines = BufReader::new(File::open(path)?).lines();
    let head: Head = serde_json::from_str(&lines.next().ok_or(LoadError::Cut)??)?;
    if head.version > VERSION {
        return Err(LoadError::Newer(head.version));
    }
    for (routes, line) in lines.enumerate() {
        let line = line?;
        if let Ok(foot) = serde_json::from_str::<Foot>(&line) {
            return if foot.routes == routes { Ok(routes) } else { Err(LoadError::Cut) };
        }
        each(serde_json::from_str(&line)?);
    }
    Err(LoadError::Cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Endpoint, Protocol, RouteState};

    fn filled() -> Table {
        let table = Table::default();
        for n in 0..50 {
            let endpoint = Endpoint::Dialer { path: format!("/run/{n}"), protocol: Protocol::Http1 };
            let labels = vec![format!("id{n}"), format!("name{n}")];
            let state = RouteState::Live { endpoint };
            table.upsert(&Route::new(format!("id{n}"), format!("name{n}"), labels, state));
        }
        table
    }

    fn routes(table: &Table) -> Vec<Route> {
        let mut routes = Vec::new();
        table.for_each_route(|route| routes.push(route));
        routes.sort_by(|a, b| a.service_id.cmp(&b.service_id));
        routes
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let before = filled();
        save(folder.path(), &before).unwrap();
        let after = Table::default();
        assert_eq!(load(folder.path(), &after).unwrap(), 50);
        assert_eq!(routes(&before), routes(&after));
    }

    #[test]
    fn a_file_cut_anywhere_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &filled()).unwrap();
        let whole = fs::read(path(folder.path())).unwrap();
        let table = Table::default();
        for length in (0..whole.len() - 1).step_by(41) {
            File::create(path(folder.path())).unwrap().write_all(&whole[..length]).unwrap();
            assert!(load(folder.path(), &table).is_err(), "cut at {length}");
            assert_eq!(table.len(), 0);
        }
    }

    #[test]
    fn a_file_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(path(folder.path())).unwrap();
        file.write_all(b"{\"version\":99}\n{\"routes\":0}\n").unwrap();
        assert!(matches!(load(folder.path(), &Table::default()), Err(LoadError::Newer(99))));
    }
}
