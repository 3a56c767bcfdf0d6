//! Generated files that are committed, so that a reader needs no tool to see them.

use crate::sh;

/// Where the API's document is kept.
pub(crate) const OPENAPI: &str = "openapi/shipway.json";

/// Writes every generated file anew.
pub(crate) fn generate() -> anyhow::Result<()> {
    let document = sh::read("cargo", &["run", "--quiet", "--package", "shipway", "--", "openapi"])?;
    shipway_stdx::fs::write_atomic(
        &sh::root().join(OPENAPI),
        document.as_bytes(),
        0o644,
        shipway_stdx::fs::Durability::Process,
    )?;
    sh::say(&format!("wrote {OPENAPI}"));
    Ok(())
}
