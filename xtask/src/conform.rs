//! `cargo xtask conform`: the edge as others judge it. Programs that were made to find
//! fault with HTTP servers, and gRPC's own library, against the real binary:
//!
//! * `h2spec`: 146 tests of HTTP/2;
//! * `slowhttptest`: slow heads, slow bodies, ranges, slow readers, while a service must
//!   stay available;
//! * grpc-go on both sides of a service that speaks HTTP/2 (`conform/echo`).
//!
//! Not part of `make test`: the first two are not on every machine, and the third needs
//! Go's module registry. SPECIFICATION.md has the last results.

mod grpc;
mod slow;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use shipway_testkit::{FileServer, Platform, Settings};

use crate::sh::{self, say, tell};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which: h2spec, slow, grpc; all of them when none is named
    names: Vec<String>,
}

type Check = (&'static str, fn(&Field) -> anyhow::Result<()>);

const CHECKS: [Check; 3] = [("h2spec", h2spec), ("slow", slow::slow), ("grpc", grpc::grpc)];

/// A platform, and where its services' content comes from.
struct Field {
    platform: Platform,
    files: FileServer,
}

impl Field {
    /// Runs a command of Shipway's that must succeed.
    fn ok(&self, words: &[&str]) -> anyhow::Result<()> {
        let output = self.platform.cli(words)?;
        ensure!(output.code == 0, "shipway {}: {}", words.join(" "), output.stderr);
        Ok(())
    }
}

/// Runs what was named.
pub(crate) fn conform(options: &Options) -> anyhow::Result<()> {
    let unknown = options.names.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name));
    if let Some(name) = unknown {
        bail!("there is no check `{name}`; there are h2spec, slow and grpc");
    }
    sh::run("cargo", &["build", "--quiet", "--package", "shipway"])?;
    let files = FileServer::start()?;
    let environment = vec![("SHIPWAY_FETCH_ALLOW".to_owned(), files.address().to_string())];
    let platform =
        Platform::start(&sh::target().join("debug/shipway"), Settings { environment, ..Settings::default() })?;
    let field = Field { platform, files };
    let is_wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|wanted| wanted == name);
    for (name, check) in CHECKS.into_iter().filter(|(name, _)| is_wanted(name)) {
        check(&field).with_context(|| format!("{name} does not hold"))?;
        say(&format!("{name} holds"));
    }
    Ok(())
}

/// Where what is built for this is kept.
fn folder() -> anyhow::Result<PathBuf> {
    let folder = sh::target().join("conform");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The one test that a listener of two protocols cannot pass: a wrong preface of HTTP/2 is
/// a wrong request of HTTP/1.1, and is told so before the connection is closed.
const H2SPEC_KNOWN: &str = "Sends invalid connection preface";

fn h2spec(field: &Field) -> anyhow::Result<()> {
    let ours = folder()?.join("h2spec");
    let program = if ours.exists() { ours.clone() } else { "h2spec".into() };
    let address = field.platform.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let output = Command::new(program).args(["--strict", "--timeout", "5", "--host", &host, "--port", &port]).output();
    let place = ours.parent().unwrap_or(&ours).display();
    let remedy = format!("h2spec is needed: GOBIN={place} go install github.com/summerwind/h2spec/cmd/h2spec@latest");
    let output = output.context(remedy)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rev().find(|line| line.contains(" tests, ")).context("h2spec said nothing")?;
    tell(last);
    let failed: Vec<&str> = text.lines().filter_map(|line| line.split_once("× ")).map(|(_, test)| test).collect();
    let unknown = failed.iter().find(|test| !test.contains(H2SPEC_KNOWN));
    ensure!(unknown.is_none(), "{}", failed.join("\n"));
    ensure!(!last.contains(" 0 passed"), "{last}");
    Ok(())
}
