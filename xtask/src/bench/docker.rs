//! Docker as a peer: a daemon of the bench's own, with its own root, socket and cgroups.
//! It has no bridge, so that no rule and no link of the host's is touched, unless the
//! calling thread is in a network namespace of the bench's own.
//!
//! Installed by hand (`apt-get install docker.io`, with a `policy-rc.d` that forbids its
//! service); where it is not, the rows say so. What the daemon makes outside of its
//! directories (mounts, cgroups, empty folders below `/run`) is removed with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use shipway_testkit::wait_until;
use tempfile::TempDir;

use super::start::finish;
use crate::sh;

/// Longest the daemon takes to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE: &str = "shipway-bench";
const NAME: &str = "shipway-bench-sleeper";
/// Made by daemon or containerd wherever their roots are, emptied by themselves.
const FOLDERS: [&str; 4] = ["/run/docker/plugins", "/run/docker", "/run/containerd/s", "/run/containerd"];

/// What the daemon has of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bridge {
    /// Nothing.
    None,
    /// Its own, with the rules it makes, as by default.
    Default,
}

/// A daemon that is ended when dropped.
pub(super) struct Docker {
    folder: TempDir,
    daemon: Child,
    /// Name of its cgroups.
    group: String,
    /// Those of [`FOLDERS`] that were not there before.
    made: Vec<&'static str>,
}

impl Docker {
    /// Starts a daemon and imports a root file system.
    pub(super) fn start(tree: &Path, bridge: Bridge) -> anyhow::Result<Self> {
        for program in ["dockerd", "docker"] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            ensure!(found.is_ok_and(|status| status.success()), "{program} is not installed");
        }
        let folder = tempfile::Builder::new().prefix("shipway-docker-").tempdir()?;
        let group = format!("shipway-bench-{}", std::process::id());
        let made = FOLDERS.into_iter().filter(|path| !Path::new(path).exists()).collect();
        let daemon = daemon(folder.path(), &group, bridge)?;
        let mut docker = Self { folder, daemon, group, made };
        docker.wait()?;
        let tar = docker.folder.path().join("image.tar").to_string_lossy().into_owned();
        sh::run("tar", &["-C", &tree.to_string_lossy(), "-cf", &tar, "."])?;
        docker.call(&["import", &tar, IMAGE])?;
        Ok(docker)
    }

    /// Makes, runs and removes a container.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let words = ["run", "--rm", "--network", "none", "--memory", "64m", "--cpus", "2", "--pids-limit", "32"];
        self.call(&[words.as_slice(), &["--user", "1000", IMAGE, "/bin/true"]].concat())
    }

    /// Starts a container for [`Docker::exec`]; it ends with the daemon.
    pub(super) fn keep_running(&self) -> anyhow::Result<()> {
        self.call(&["run", "--detach", "--network", "none", "--name", NAME, IMAGE, "/bin/sleep", "1000"])
    }

    /// Runs another process in the one that is kept running.
    pub(super) fn exec(&self) -> anyhow::Result<()> {
        self.call(&["exec", NAME, "/bin/true"])
    }

    /// Starts a container with the bridge's network; it ends with the daemon.
    pub(super) fn keep_connected(&self, command: &[&str]) -> anyhow::Result<()> {
        let words =
            ["run", "--detach", "--network", "bridge", "--memory", "256m", "--cpus", "2", "--name", NAME, IMAGE];
        self.call(&[&words[..], command].concat())
    }

    /// What a command in the container that is kept running prints.
    pub(super) fn said(&self, command: &[&str]) -> anyhow::Result<String> {
        let mut docker = Command::new("docker");
        docker.arg("--host").arg(socket(self.folder.path())).args(["exec", NAME]).args(command);
        let output = docker.stdin(Stdio::null()).output().context("cannot run docker")?;
        ensure!(output.status.success(), "docker exec: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn call(&self, words: &[&str]) -> anyhow::Result<()> {
        finish(Command::new("docker").arg("--host").arg(socket(self.folder.path())).args(words))
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let answered = wait_until("dockerd answers", PATIENCE, || match self.daemon.try_wait() {
            Ok(None) => self.call(&["version"]).ok().map(|()| true),
            _ => Some(false),
        });
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        ensure!(answered, "dockerd ended: {}", log.lines().last().unwrap_or_default());
        Ok(())
    }

    /// Asks the daemon to end, which ends its containers and its containerd.
    fn end(&mut self) -> anyhow::Result<()> {
        // An error is a container that never was.
        drop(self.call(&["rm", "--force", NAME]));
        sh::run("kill", &[&self.daemon.id().to_string()])?;
        let begun = Instant::now();
        while self.daemon.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                self.daemon.kill()?;
                self.daemon.wait()?;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            sh::say(&format!("dockerd is not ended: {error:#}"));
        }
        for mount in mounts_below(self.folder.path()) {
            drop(Command::new("umount").arg("--lazy").arg(mount).status());
        }
        let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|tree| tree.path());
        for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
            drop(fs::remove_dir(tree.join(&self.group)));
        }
        for folder in &self.made {
            drop(fs::remove_dir(folder));
        }
    }
}

fn socket(folder: &Path) -> String {
    format!("unix://{}/sock", folder.display())
}

fn daemon(folder: &Path, group: &str, bridge: Bridge) -> anyhow::Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut command = Command::new("dockerd");
    command.arg("--host").arg(socket(folder)).args(["--cgroup-parent", &format!("/{group}")]);
    for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(flag).arg(folder.join(name));
    }
    if bridge == Bridge::None {
        // No link, no rule, no sysctl of the host's.
        let flags = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"];
        command.args(flags);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("cannot run dockerd")
}

/// Innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(folder)).collect();
    below.reverse();
    below
}
