//! The gate: Shipway installed on the booted machine, as an operator would.
//!
//! The script beside this file is the list of steps. The machine is booted twice:
//! a reboot is one of them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use shipway_stdx::fs::{Durability, write_atomic};

use super::disk;
use super::machine;
use crate::sh::{self, say, tell};

const SCRIPT: &str = include_str!("gate.sh");
/// Steps that the script reports, over both boots.
const STEPS: usize = 12;

/// Boots the machine, goes through the gate, reports.
pub(super) fn gate(folder: &Path, fresh: bool, limit: std::time::Duration) -> anyhow::Result<()> {
    say("building shipway");
    sh::run("cargo", &["build", "-p", "shipway"])?;
    disk::make_tree(folder, fresh)?;
    install(&folder.join("tree"))?;
    let disk = disk::make_disk(folder)?;
    let mut lines = Vec::new();
    let mut all_passed = true;
    for boot in ["first", "second"] {
        say(&format!("booting Debian 12 ({boot} boot); its words go to {}", folder.join("serial.log").display()));
        let report = machine::run(folder, &disk, limit)?;
        fs::copy(folder.join("serial.log"), folder.join(format!("serial-{boot}.log")))?;
        all_passed &= report.all_passed;
        lines.extend(report.lines);
    }
    lines.iter().for_each(|line| tell(line));
    ensure!(lines.len() == STEPS, "only {} of {STEPS} steps reported; see {}", lines.len(), folder.display());
    ensure!(all_passed, "some steps failed; see {}", folder.display());
    Ok(())
}

/// Puts two versions of the binary and the script into the tree.
fn install(tree: &Path) -> anyhow::Result<()> {
    let place = tree.join("shipway");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let binary = super::debug_folder()?.join("shipway");
    for version in ["shipway", "next"] {
        fs::copy(&binary, place.join(version)).context("cannot copy the binary")?;
    }
    // What follows a program's end is not looked at: another file that does the same.
    let next = fs::File::options().append(true).open(place.join("next"))?;
    std::io::Write::write_all(&mut &next, b"next")?;
    let script = SCRIPT.replace("$BUILT", &sh::root().to_string_lossy());
    write_atomic(&place.join("suite"), script.as_bytes(), 0o755, Durability::Process)?;
    disk::install_unit(tree, disk::GATE_UNIT)
}
