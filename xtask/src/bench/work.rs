//! What several benches do: a platform, an nginx, a load.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shipway_testkit::{FileServer, Platform, Settings, wait_until};

use crate::up::binary;

/// A release build of Shipway with services, and where their content comes from.
pub(super) struct Field {
    pub(super) platform: Platform,
    files: FileServer,
}

impl Field {
    pub(super) fn new() -> anyhow::Result<Self> {
        Self::of(&binary())
    }

    /// The same with a binary that is not the usual one.
    pub(super) fn of(binary: &Path) -> anyhow::Result<Self> {
        let files = FileServer::start()?;
        let environment = vec![("SHIPWAY_FETCH_ALLOW".to_owned(), files.address().to_string())];
        let platform = Platform::start(binary, Settings { environment, ..Settings::default() })?;
        Ok(Self { platform, files })
    }

    /// Puts content where Shipway may fetch it.
    pub(super) fn offer(&self, path: &str, content: &str) -> String {
        self.files.put(path, content)
    }

    pub(super) fn deploy(&self, name: &str, content: &str, kind: &str) -> anyhow::Result<()> {
        self.deploy_with(name, content, &[kind])
    }

    pub(super) fn deploy_with(&self, name: &str, content: &str, further: &[&str]) -> anyhow::Result<()> {
        let url = self.offer(&format!("/{name}"), content);
        // As many processors as the peer has, which nobody limits.
        let cpus = std::thread::available_parallelism()?.to_string();
        let mut words = vec!["deploy", &url, "--name", name, "--cpus", &cpus];
        words.extend(further);
        let output = self.platform.cli(&words)?;
        ensure!(output.code == 0, "cannot deploy {name}: {}", output.stderr);
        Ok(())
    }
}

/// Requests per second of one load, by wrk(1).
pub(super) fn load(
    address: SocketAddr,
    host: &str,
    connections: usize,
    seconds: u32,
    cpu: Option<u32>,
) -> anyhow::Result<f64> {
    let mut words: Vec<String> = Vec::new();
    if let Some(cpu) = cpu {
        words.extend(["taskset", "-c"].map(str::to_owned));
        words.push(cpu.to_string());
    }
    let url = format!("http://{address}/");
    words.extend(["wrk", "-t1", "-H"].map(str::to_owned));
    words.extend([format!("Host: {host}"), format!("-c{connections}"), format!("-d{seconds}s"), url]);
    let output = Command::new(&words[0]).args(&words[1..]).output().context("wrk is needed: apt-get install -y wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("Non-2xx"), "not every answer was a good one:\n{text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse().ok());
    rate.with_context(|| format!("wrk printed no rate:\n{text}"))
}

/// Asks for the process on a processor of its own.
pub(super) fn pin(pid: u32, cpu: u32) -> anyhow::Result<()> {
    let status =
        Command::new("taskset").args(["-apc", &cpu.to_string(), &pid.to_string()]).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "cannot pin process {pid}");
    Ok(())
}

/// An nginx with one worker and the given server block, ended when dropped.
pub(super) struct Nginx {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Nginx {
    /// `http` stands in the http block, `server` in a server that listens on a free port.
    pub(super) fn start(folder: &Path, http: &str, server: &str) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let root = folder.display();
        // Two descriptors a connection: with a shell's usual 1024, nginx answers some of
        // 512 connections with errors.
        let config = format!(
            "worker_processes 1;\nworker_rlimit_nofile 16384;\nuser root;\ndaemon off;\npid {root}/nginx.pid;\nerror_log {root}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000; {http}\nserver {{ listen {address}; {server} }} }}\n"
        );
        let path = folder.join("nginx.conf");
        shipway_stdx::fs::write_atomic(&path, config.as_bytes(), 0o644, shipway_stdx::fs::Durability::Process)?;
        let child = Command::new("nginx")
            .args(["-c", &path.to_string_lossy(), "-p", &folder.to_string_lossy()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx is needed: apt-get install -y nginx-light")?;
        let nginx = Self { child, address };
        wait_until("nginx listens", Duration::from_secs(10), || std::net::TcpStream::connect(address).ok().map(drop));
        // The master listens before it has a worker.
        wait_until("nginx has a worker", Duration::from_secs(10), || nginx.worker());
        Ok(nginx)
    }

    /// The one worker, which does the work.
    pub(super) fn worker(&self) -> Option<u32> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master, who ends the worker. Its pid file may not be there yet.
        drop(Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status());
        drop(self.child.wait());
    }
}
