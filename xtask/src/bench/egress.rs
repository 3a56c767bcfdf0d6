//! `egress`: a container of ours through Shipway's link and rules, against one on
//! Docker's bridge, in turn.
//!
//! Each has a host of its own, a network namespace with nothing else in it, so that
//! neither pays for the other's rules; and each host has an internet of its own, one
//! more namespace behind a pair of links, where the other end of the traffic is. No
//! packet leaves the machine. The same static program sends and takes in both
//! containers. The limit is that program in a bare namespace: a pair of links and one
//! rule that translates addresses, made by hand.

mod net;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use self::net::{Host, Net};
use super::docker::{Bridge, Docker};
use super::row::{Row, median};
use super::work::Field;
use crate::sh;

/// What is measured: verb, amount, in words, the bar.
type Work = (&'static str, u64, &'static str, Option<f64>);

const WORKS: [Work; 3] = [
    ("send", 2 << 30, "2 GiB out, one TCP connection", Some(1.0)),
    ("take", 2 << 30, "2 GiB in, one TCP connection", None),
    ("call", 3_000, "3,000 connections, one after the other", None),
];
/// Where the internet is found, and where whoever only has to be there listens.
const TARGET: &str = "12.1.1.1:9000";
const IDLE_PORT: &str = "8000";
const PROGRAM: &str = "/traffic";

/// Runs the program once, somewhere, and returns what it printed.
type Runner<'a> = Box<dyn Fn(&[&str]) -> anyhow::Result<String> + 'a>;

pub(super) fn egress(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let program = build()?;
    let tree = tempfile::tempdir()?;
    make_tree(tree.path(), &program)?;
    let ours = Ours::start(tree.path(), &program)?;
    let bare = Bare::new(&program)?;
    let docker = match Theirs::start(tree.path(), &program) {
        Ok(docker) => Some(docker),
        Err(error) => {
            sh::say(&format!("docker does not run here: {error:#}"));
            None
        }
    };
    let mut rows = Vec::new();
    for work in WORKS {
        let (ours, bare) = (ours.runner(), bare.runner());
        let theirs = docker.as_ref().map(Theirs::runner);
        rows.extend(compare(&work, rounds, &ours, theirs.as_ref(), &bare)?);
    }
    Ok(rows)
}

/// Peer, then ours, then the limit, and again.
fn compare(
    work: &Work,
    rounds: usize,
    ours: &Runner<'_>,
    theirs: Option<&Runner<'_>>,
    bare: &Runner<'_>,
) -> anyhow::Result<Vec<Row>> {
    let once = |runner: &Runner<'_>| -> anyhow::Result<f64> {
        let said = runner(&[PROGRAM, work.0, TARGET, &work.1.to_string()])?;
        said.trim().parse().with_context(|| format!("it printed {said:?}"))
    };
    // The first of each finds everything cold.
    let all: Vec<&Runner<'_>> = theirs.into_iter().chain([ours, bare]).collect();
    for runner in &all {
        once(runner)?;
    }
    let mut rates = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (runner, rates) in all.iter().zip(&mut rates) {
            rates.push(once(runner)?);
        }
    }
    let limit = rates.pop().unwrap_or_default();
    let mine = rates.pop().unwrap_or_default();
    let docker = rates.pop().map(|docker| row(work, "docker's bridge", &docker, &mine, work.3));
    Ok(docker.into_iter().chain([row(work, "bare veth and NAT", &limit, &mine, None)]).collect())
}

fn row(work: &Work, peer: &str, theirs: &[f64], ours: &[f64], bar: Option<f64>) -> Row {
    let ratio = median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
    Row {
        bench: "egress",
        work: work.2.to_owned(),
        peer: format!("{peer}: {}", rate(work.0, theirs)),
        ours: rate(work.0, ours),
        ratio: Some(ratio),
        bar: bar.map_or_else(|| "reported".to_owned(), |bar| format!("≥ {bar:.1} ×")),
        held: bar.map(|bar| ratio >= bar),
    }
}

fn rate(verb: &str, rates: &[f64]) -> String {
    let middle = median(rates.to_vec());
    if verb == "call" { format!("{middle:.0}/s") } else { format!("{:.2} GB/s", middle / 1e9) }
}

fn build() -> anyhow::Result<PathBuf> {
    let package = ["rustc", "--release", "--quiet", "--package", "shipway-egress", "--example", "traffic", "--"];
    sh::run("cargo", &[&package[..], &["-C", "target-feature=+crt-static"]].concat())?;
    Ok(sh::target().join("release/examples/traffic"))
}

/// A root file system of one program.
fn make_tree(tree: &Path, program: &Path) -> anyhow::Result<()> {
    for name in ["dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::set_permissions(tree, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    fs::copy(program, tree.join(&PROGRAM[1..])).context("the program was not built")?;
    Ok(())
}

/// A Shipway on a host of its own, with one container.
struct Ours {
    host: Host,
    field: Option<Field>,
}

impl Ours {
    fn start(tree: &Path, program: &Path) -> anyhow::Result<Self> {
        let host = Host::new(program)?;
        let field = host.net.run(|| {
            let field = Field::new()?;
            let tree = tree.to_string_lossy();
            let cpus = std::thread::available_parallelism()?.to_string();
            let limits = ["--cpus", &cpus, "--memory", "256M", "--bandwidth", "12G", "--connections", "65535"];
            let deploy = ["deploy", "--image", "traffic", "--port", IDLE_PORT, "--name", "traffic"];
            let command = ["--egress", "internet", "--", PROGRAM, "serve", IDLE_PORT];
            for words in [&["image", "import", "traffic", &tree][..], &[&deploy[..], &limits, &command].concat()] {
                let output = field.platform.cli(words)?;
                ensure!(output.code == 0, "shipway {}: {}", words.join(" "), output.stderr);
            }
            Ok(field)
        })?;
        Ok(Self { host, field: Some(field) })
    }

    fn runner(&self) -> Runner<'_> {
        Box::new(|words| {
            let field = self.field.as_ref().context("it runs")?;
            let output =
                self.host.net.run(|| Ok(field.platform.cli(&[&["exec", "traffic", "--"], words].concat())?))?;
            ensure!(output.code == 0, "in our container: {}", output.stderr);
            Ok(output.stdout)
        })
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // `shipway down` has to be run on the host whose links it takes away.
        let field = self.field.take();
        drop(self.host.net.run(move || {
            drop(field);
            Ok(())
        }));
    }
}

/// A dockerd on a host of its own, with one container.
struct Theirs {
    host: Host,
    docker: Docker,
}

impl Theirs {
    fn start(tree: &Path, program: &Path) -> anyhow::Result<Self> {
        let host = Host::new(program)?;
        let docker = host.net.run(|| {
            let docker = Docker::start(tree, Bridge::Default)?;
            docker.keep_connected(&[PROGRAM, "serve", IDLE_PORT])?;
            Ok(docker)
        })?;
        Ok(Self { host, docker })
    }

    fn runner(&self) -> Runner<'_> {
        Box::new(|words| self.host.net.run(|| self.docker.said(words)))
    }
}

/// A namespace that the program runs in as it is, behind a host with one rule.
struct Bare {
    _host: Host,
    inside: Net,
    program: String,
}

impl Bare {
    fn new(program: &Path) -> anyhow::Result<Self> {
        let (host, inside) = (Host::new(program)?, Net::new()?);
        host.translate_for(&inside)?;
        Ok(Self { _host: host, inside, program: program.to_string_lossy().into_owned() })
    }

    fn runner(&self) -> Runner<'_> {
        Box::new(|words| self.inside.run(|| sh::read(&self.program, &words[1..])))
    }
}
