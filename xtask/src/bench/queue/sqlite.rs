//! The peer on SQLite: a loop in C on the very library that Shipway has inside, each
//! statement prepared once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use shipway_stdx::fs::{Durability, write_atomic};

use super::script::{Bound, Own, Piece, Script};
use super::{Built, SECONDS, TASKS, compared, rate, said};
use crate::bench::row::Row;
use crate::sh;
use crate::sh::target;

const LOOP: &str = include_str!("loop.c");

/// Builds the example, and asks cargo where the library lies that was built for it.
pub(super) fn build() -> anyhow::Result<Built> {
    let words = ["build", "--release", "--package", "shipway-store", "--example", "measure_queue"];
    let words: Vec<&str> = words.into_iter().chain(["--quiet", "--message-format", "json"]).collect();
    let messages = sh::read("cargo", &words)?;
    let messages: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_library = |key: &str| {
        let ours = |message: &&Value| {
            message["package_id"].as_str().is_some_and(|id| id.contains("libsqlite3-sys")) && message[key].is_string()
        };
        let found = messages.iter().find(ours).and_then(|message| message[key].as_str());
        found.map(PathBuf::from).with_context(|| format!("cargo names no {key} of libsqlite3-sys"))
    };
    Ok(Built {
        measure: target().join("release/examples/measure_queue"),
        library: of_library("out_dir")?.join("libsqlite3.a"),
        include: of_library("manifest_path")?.with_file_name("sqlite3"),
    })
}

impl Built {
    /// Compiles the peer.
    pub(super) fn peer(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let (source, program) = (folder.join("loop.c"), folder.join("loop"));
        write_atomic(&source, LOOP.as_bytes(), 0o644, Durability::Process)?;
        let status = Command::new("cc")
            .args(["-O2", "-Wall", "-o"])
            .args([program.as_os_str(), source.as_os_str(), "-I".as_ref(), self.include.as_os_str()])
            .args([self.library.as_os_str(), "-lpthread".as_ref(), "-ldl".as_ref(), "-lm".as_ref()])
            .status()
            .context("a C compiler is needed: apt-get install -y gcc libc6-dev")?;
        ensure!(status.success(), "the loop in C cannot be compiled");
        Ok(program)
    }
}

pub(super) fn turns(measure: &Path, peer: &Path, folder: &Path, rounds: usize) -> anyhow::Result<Row> {
    let full = folder.join("full");
    said(measure, &["fill", &full.to_string_lossy(), TASKS, "1"])?;
    let statements = folder.join("statements");
    let copied = copy(&full, folder)?;
    let script = Script::of(&said(measure, &["statements", &copied])?)?;
    write_atomic(&statements, &lines(&script), 0o644, Durability::Process)?;
    let mut measured = Vec::new();
    for _ in 0..rounds {
        let theirs = said(peer, &[&copy(&full, folder)?, &statements.to_string_lossy(), SECONDS])?;
        let ours = said(measure, &["turns", &copy(&full, folder)?, "1", SECONDS])?;
        measured.push((rate(&theirs)?, rate(&ours)?));
    }
    Ok(compared("SQLite", "bare loop in C", measured))
}

/// A copy that is on the disk before anything is measured.
fn copy(full: &Path, folder: &Path) -> anyhow::Result<String> {
    let copy = tempfile::Builder::new().prefix("copy-").tempdir_in(folder)?.keep().join("shipway.sqlite");
    std::fs::copy(full, &copy)?;
    File::open(&copy)?.sync_all()?;
    Ok(copy.to_string_lossy().into_owned())
}

/// What the loop reads: a statement a line, then its values, with a tab before each. In a
/// text, a byte below five stands for a value of the task's.
pub(super) fn lines(script: &Script) -> Vec<u8> {
    let mut text = Vec::new();
    for message in &script.messages {
        for statement in message.sql.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            text.extend_from_slice(statement.as_bytes());
            for value in &message.values {
                text.push(b'\t');
                text.extend(field(value));
            }
            text.push(b'\n');
        }
    }
    text
}

fn field(value: &Bound) -> Vec<u8> {
    match value {
        Bound::Null => b"n".to_vec(),
        Bound::Number(number) => format!("i{number}").into_bytes(),
        Bound::Token => b"k".to_vec(),
        Bound::Text(pieces) => b"t".iter().copied().chain(pieces.iter().flat_map(bytes)).collect(),
    }
}

fn bytes(piece: &Piece) -> Vec<u8> {
    match piece {
        Piece::Fixed(text) => text.as_bytes().to_vec(),
        Piece::Own(Own::Id) => vec![1],
        Piece::Own(Own::Subject) => vec![2],
        Piece::Own(Own::Project) => vec![3],
        Piece::Own(Own::Token) => vec![4],
    }
}
