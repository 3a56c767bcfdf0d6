//! The rules that a machine can check, so that people need not.
//!
//! Every rule prints what is wrong, where, and how to mend it. What needs the
//! compiler is a lint (root `Cargo.toml`, `clippy.toml`) and stands there.

mod dashboards;
mod edges;
mod links;
mod sources;

use anyhow::bail;

use crate::sh;

/// Runs every rule and fails with all findings at once.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let files = tracked_files()?;
    let mut findings = edges::check()?;
    findings.extend(sources::check(&files)?);
    findings.extend(links::check(&files)?);
    findings.extend(dashboards::check(&files)?);
    if findings.is_empty() {
        return Ok(());
    }
    bail!("tidy found {}:\n  {}", findings.len(), findings.join("\n  "))
}

/// Files that git tracks or would track, relative to the root.
fn tracked_files() -> anyhow::Result<Vec<String>> {
    let listed = sh::read("git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    Ok(listed.lines().filter(|file| sh::root().join(file).is_file()).map(str::to_owned).collect())
}
