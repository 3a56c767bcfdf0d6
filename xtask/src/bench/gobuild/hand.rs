//! The same by hand: a folder with a `main.go`, the go command, caches of its own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use shipway_stdx::fs::{Durability, write_atomic};
use tempfile::TempDir;

use super::plugins::{PLUGIN, Plugins};
use super::{MODULE, VERSION};
use crate::sh;

/// Modules and objects are kept in here.
pub(super) struct Hand {
    folder: TempDir,
    proxies: String,
}

/// Where modules come from: the plugins, and then what the go command is set to, but never a
/// repository itself.
pub(super) fn proxies(plugins: &Plugins) -> anyhow::Result<String> {
    let usual = sh::read("go", &["env", "GOPROXY"])?;
    let usual: Vec<&str> = usual.trim().split(',').filter(|word| *word != "direct").collect();
    Ok(format!("{},{}", plugins.url(), usual.join(",")))
}

impl Hand {
    /// Writes the program and fetches what it needs.
    pub(super) fn lay(plugins: &Plugins) -> anyhow::Result<Self> {
        let hand = Self { folder: tempfile::tempdir()?, proxies: proxies(plugins)? };
        for folder in ["src", "mod", "cache", "home"] {
            std::fs::create_dir(hand.folder.path().join(folder))?;
        }
        hand.write("go.mod", "module caddy\n\ngo 1.25\n")?;
        hand.program("")?;
        hand.go(&["get", &format!("{MODULE}@{VERSION}")], false)?;
        hand.go(&["mod", "tidy", "-e"], false)?;
        Ok(hand)
    }

    /// Adds a plugin, `module@version`.
    pub(super) fn require(&self, plugin: &str) -> anyhow::Result<()> {
        self.program(&format!("\t_ \"{PLUGIN}\"\n"))?;
        self.go(&["get", plugin], false)?;
        self.go(&["mod", "tidy", "-e"], false)
    }

    /// Compiles as the plan of a build does, and says how long that took.
    pub(super) fn compile(&self) -> anyhow::Result<Duration> {
        let output = self.folder.path().join("caddy").display().to_string();
        shipway_stdx::fs::remove_if_there(std::path::Path::new(&output))?;
        let words = ["build", "-trimpath", "-buildvcs=false", "-o", &output];
        let more = ["-tags", "nobadger,nomysql,nopgx", "-ldflags", "-w -s", "."];
        let begun = Instant::now();
        self.go(&[&words[..], &more[..]].concat(), true)?;
        Ok(begun.elapsed())
    }

    fn program(&self, plugin: &str) -> anyhow::Result<()> {
        let main = format!(
            "package main\n\nimport (\n\tcaddycmd \"{MODULE}/cmd\"\n\n\t_ \"{MODULE}/modules/standard\"\n{plugin}\t_ \"time/tzdata\"\n)\n\n\
             func main() {{\n\tcaddycmd.Main()\n}}\n"
        );
        self.write("main.go", &main)
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        Ok(write_atomic(&self.folder.path().join("src").join(name), content.as_bytes(), 0o644, Durability::Process)?)
    }

    /// Runs the go command; one that compiles reaches nobody.
    fn go(&self, words: &[&str], compiles: bool) -> anyhow::Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        let mode = if compiles { "-mod=readonly -modcacherw" } else { "-mod=mod -modcacherw" };
        let output = Command::new("go")
            .args(words)
            .current_dir(at("src"))
            .env("GOFLAGS", mode)
            .env("GOPROXY", if compiles { "off" } else { &self.proxies })
            .env("GONOSUMDB", PLUGIN)
            .env("GOMODCACHE", at("mod"))
            .env("GOCACHE", at("cache"))
            .env("GOTMPDIR", at("home"))
            .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("GOVCS", "*:off")])
            .stdin(Stdio::null())
            .output()
            .context("go is needed: scripts/setup.sh test")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`go {}` ended with {}: {said}", words.join(" "), output.status);
        Ok(())
    }
}
