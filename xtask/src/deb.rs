//! `cargo xtask deb`: a Debian package of the release binary.
//!
//! One binary, two units, one configuration file, and maintainer scripts that never
//! stop a service for an upgrade. The units are made of the same templates that
//! `shipway install` uses.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use shipway_stdx::fs::{Durability, write_atomic};

use crate::sh::{self, say, tell};

const BINARY: &str = "/usr/bin/shipway";
const CONFIG: &str = "/etc/shipway/config.yml";
const LISTEN: &str = "ListenStream=127.0.0.1:8080";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Take the debug binary, which is built in a fraction of the time and ten times as large
    #[arg(long)]
    debug: bool,
}

/// Builds, lays out, packs; prints the package's path.
pub(crate) fn deb(options: &Options) -> anyhow::Result<()> {
    let profile = if options.debug { "debug" } else { "release" };
    say(&format!("building a {profile} binary"));
    let mut words = vec!["build", "--package", "shipway"];
    words.extend((!options.debug).then_some("--release"));
    sh::run("cargo", &words)?;
    let folder = sh::target().join("deb");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let tree = folder.join("tree");
    let version = version()?;
    lay_out(&tree, &sh::target().join(profile).join("shipway"))?;
    control(&tree, &version)?;
    let package = folder.join(format!("shipway_{version}_{}.deb", machine()?));
    let words = ["--build", "--root-owner-group", &tree.to_string_lossy(), &package.to_string_lossy()];
    sh::run("dpkg-deb", &words)?;
    tell(&package.to_string_lossy());
    Ok(())
}

/// The workspace's version.
fn version() -> anyhow::Result<String> {
    let id = sh::read("cargo", &["pkgid", "--package", "shipway"])?;
    let version = id.trim().rsplit(['#', '@']).next().context("cargo names no version")?;
    Ok(version.to_owned())
}

fn machine() -> anyhow::Result<String> {
    Ok(sh::read("dpkg", &["--print-architecture"])?.trim().to_owned())
}

fn lay_out(tree: &Path, binary: &Path) -> anyhow::Result<()> {
    let packaging = sh::root().join("packaging");
    let read = |name: &str| fs::read_to_string(packaging.join(name)).with_context(|| format!("cannot read {name}"));
    let fill = |text: String| text.replace("@BINARY@", BINARY).replace("@CONFIG@", CONFIG).replace("@LISTEN@", LISTEN);
    put(tree, "lib/systemd/system/shipway.service", &fill(read("shipway.service")?), 0o644)?;
    put(tree, "lib/systemd/system/shipway.socket", &fill(read("shipway.socket")?), 0o644)?;
    put(tree, &CONFIG[1..], &read("config.yml")?, 0o644)?;
    put(tree, "usr/share/doc/shipway/copyright", &copyright()?, 0o644)?;
    let to = tree.join(&BINARY[1..]);
    fs::create_dir_all(to.parent().context("a path has a folder")?)?;
    fs::copy(binary, &to).with_context(|| format!("cannot copy {}", binary.display()))?;
    sh::run("strip", &["--strip-debug", &to.to_string_lossy()])
}

fn copyright() -> anyhow::Result<String> {
    let mut text = "Shipway is licensed under the Apache License 2.0 or the MIT license, as you like.\n\n".to_owned();
    text += &fs::read_to_string(sh::root().join("LICENSE-MIT"))?;
    text += "\nOn Debian systems the Apache License is in /usr/share/common-licenses/Apache-2.0.\n";
    Ok(text)
}

fn control(tree: &Path, version: &str) -> anyhow::Result<()> {
    let machine = machine()?;
    let text = format!(
        "Package: shipway\nVersion: {version}\nArchitecture: {machine}\nMaintainer: The Shipway authors <shipway@localhost>\n\
         Section: admin\nPriority: optional\nDepends: libc6 (>= 2.36), libgcc-s1\nRecommends: ca-certificates\n\
         Suggests: python3, perl, nodejs\n\
         Description: turns what you have into something that runs\n \
         A URL or a file becomes a service on its own subdomain, each in its own sandbox,\n \
         from one binary with an embedded container engine.\n"
    );
    put(tree, "DEBIAN/control", &text, 0o644)?;
    put(tree, "DEBIAN/conffiles", &format!("{CONFIG}\n"), 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        let text = fs::read_to_string(sh::root().join("packaging/debian").join(script))?;
        ensure!(text.starts_with("#!/bin/sh\nset -e\n"), "{script} must stop at the first failure");
        put(tree, &format!("DEBIAN/{script}"), &text, 0o755)?;
    }
    Ok(())
}

fn put(tree: &Path, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
    let path = tree.join(name);
    fs::create_dir_all(path.parent().context("a path has a folder")?)?;
    Ok(write_atomic(&path, text.as_bytes(), mode, Durability::Process)?)
}
