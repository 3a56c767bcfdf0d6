//! `cargo xtask test`: what CI runs, and what a developer runs before a commit.

use anyhow::ensure;

use crate::{sh, tidy, torture};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out formatting and lints
    #[arg(long)]
    quick: bool,
}

/// Formats, lints, tidies, builds, tests and tortures. Root is needed: tests make real
/// containers, mounts and namespaces, and none is skipped.
pub(crate) fn test(options: &Options) -> anyhow::Result<()> {
    ensure!(is_root(), "run this as root: the tests make real containers, and none of them is skipped");
    if !options.quick {
        sh::run("cargo", &["fmt", "--all", "--check"])?;
        sh::run("cargo", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    }
    tidy::tidy()?;
    sh::run("cargo", &["test", "--workspace", "--quiet", "--no-run"])?;
    // One test binary after the other (cargo's way), a few tests at a time in
    // each: they share two processors with the containers they start.
    sh::run("cargo", &["test", "--workspace", "--no-fail-fast"])?;
    torture::short()
}

fn is_root() -> bool {
    sh::read("id", &["-u"]).is_ok_and(|uid| uid.trim() == "0")
}
