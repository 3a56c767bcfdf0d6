//! `cargo xtask vm`: the engine's tests on what users run.
//!
//! CI's hosts have cgroup v1 or a hybrid; servers have systemd and cgroup v2.
//! So this makes a stock Debian 12 from its packages (kernel 6.1, systemd, pure
//! cgroup v2), boots it in qemu by software emulation (no `/dev/kvm` needed, a
//! minute or two), runs the test binaries in it as a systemd unit, and reads the
//! results from its serial line. It takes some ten minutes and is not part of CI;
//! the last result stands in SPECIFICATION.md.

mod disk;
mod gate;
mod machine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::sh::{self, say, tell};

/// Crates whose tests need a kernel of this kind to mean something.
const PACKAGES: [&str; 4] = ["shipway-shim", "shipway-egress", "shipway-engine", "shipway-driver-embedded"];

/// Programs this needs, and Debian's packages of them.
const TOOLS: [(&str, &str); 3] =
    [("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("qemu-system-x86_64", "qemu-system-x86")];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Make the Debian tree anew, not only the disk
    #[arg(long)]
    fresh: bool,
    /// Give up after so many minutes
    #[arg(long, default_value_t = 45)]
    minutes: u64,
    /// Instead of the tests: install, restart, upgrade, reboot and uninstall as an operator would
    #[arg(long)]
    gate: bool,
    /// Run only tests whose names contain this
    #[arg(long)]
    filter: Option<String>,
}

/// A test binary: where cargo built it, and so where it must lie inside.
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Builds, boots, runs, reports.
pub(crate) fn vm(options: &Options) -> anyhow::Result<()> {
    ensure_tools()?;
    let folder = sh::target().join("vm");
    std::fs::create_dir_all(&folder)?;
    if options.gate {
        return gate::gate(&folder, options.fresh, Duration::from_secs(options.minutes * 60));
    }
    say("building the test binaries");
    let binaries = test_binaries()?;
    disk::make_tree(&folder, options.fresh)?;
    disk::install(&folder, &binaries, options.filter.as_deref())?;
    let disk = disk::make_disk(&folder)?;
    say(&format!("booting Debian 12; its words go to {}", folder.join("serial.log").display()));
    let report = machine::run(&folder, &disk, Duration::from_secs(options.minutes * 60))?;
    for line in &report.lines {
        tell(line);
    }
    ensure!(
        report.lines.len() == binaries.len(),
        "only {} of {} suites reported; see {}",
        report.lines.len(),
        binaries.len(),
        folder.join("serial.log").display()
    );
    ensure!(report.all_passed, "some tests failed; see {}", folder.join("serial.log").display());
    Ok(())
}

fn ensure_tools() -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = TOOLS.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    ensure!(
        missing.is_empty(),
        "missing programs; as root: apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    Ok(())
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn test_binaries() -> anyhow::Result<Vec<Binary>> {
    let mut words = vec!["test", "--no-run", "--message-format=json"];
    words.extend(PACKAGES.iter().flat_map(|package| ["-p", package]));
    let output = sh::read("cargo", &words)?;
    let binaries: Vec<Binary> = output.lines().filter_map(binary).collect();
    ensure!(!binaries.is_empty(), "cargo built no test binary");
    Ok(binaries)
}

/// A test binary, or a program that a test starts, of one line of cargo's messages.
fn binary(line: &str) -> Option<Binary> {
    let message: Message = serde_json::from_str(line).ok()?;
    let (target, path) = (message.target?, message.executable?);
    let is_test = message.profile?.test;
    if message.reason != "compiler-artifact" || !is_test {
        return None;
    }
    let name = format!("{}:{}", crate_of(&path), target.kind.first()?);
    Some(Binary { name: format!("{name}:{}", target.name), path })
}

fn crate_of(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    stem.rsplit_once('-').map_or_else(|| stem.to_string(), |(name, _)| name.to_owned())
}

/// The folder in which cargo builds, which must lie at the same place inside.
pub(crate) fn debug_folder() -> anyhow::Result<PathBuf> {
    sh::target().join("debug").canonicalize().context("nothing has been built")
}
