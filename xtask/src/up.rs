//! `make up`: from a checkout to three running services.
//!
//! Everything it starts is written down under `.shipway/`, so that `make down`
//! ends exactly that. Running it twice starts nothing twice.

use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_stdx::port;

use crate::sh::{self, say, tell};

/// Where Shipway listens.
const SHIPWAY: &str = "127.0.0.1:8080";
/// Where the examples are served from, the one address that Shipway may fetch from.
const FILES: &str = "127.0.0.1:8099";
/// The first start makes the host image: seconds on a fast disk, longer on a slow one.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// Name, file and flag of each example.
const EXAMPLES: [(&str, &str, &str); 3] = [
    ("hello-html", "hello.html", "--static"),
    ("hello-sh", "hello.sh", "--script"),
    ("hello-py", "hello.py", "--script"),
];

/// What `up` started: paths and process ids under `.shipway/`.
pub(crate) struct Started {
    folder: PathBuf,
}

impl Started {
    pub(crate) fn here() -> Self {
        Self { folder: sh::root().join(".shipway") }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn run(&self) -> &'static Path {
        Path::new("/run/shipway-up")
    }

    /// The `serve` that owns the state directory now: after an upgrade it is no child of
    /// ours, and not the process that was written down.
    fn serving(&self) -> Option<i32> {
        let pid = fs::read_to_string(self.state().join("lock")).ok()?.trim().parse().ok()?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let program = program.to_string_lossy();
        (Path::new(program.trim_end_matches(" (deleted)")) == binary()).then_some(pid)
    }

    /// How the proxy of this installation ends its command line.
    fn proxy(&self) -> String {
        format!("proxy --run-dir {}", self.run().display())
    }

    fn log(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{part}.log"))
    }

    /// The process that `up` started as `part`, if it is still that very process.
    pub(crate) fn process(&self, part: &str) -> Option<i32> {
        let text = fs::read_to_string(self.folder.join(format!("{part}.pid"))).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok()?;
        (start_ticks(pid)? == started).then_some(pid)
    }

    fn remember(&self, part: &str, child: &Child) -> anyhow::Result<()> {
        let pid = i32::try_from(child.id())?;
        let ticks =
            start_ticks(pid).with_context(|| format!("the {part} ended at once; see {}", self.log(part).display()))?;
        write_atomic(
            &self.folder.join(format!("{part}.pid")),
            format!("{pid} {ticks}\n").as_bytes(),
            0o644,
            Durability::Process,
        )?;
        Ok(())
    }

    pub(crate) fn forget(&self, part: &str) {
        // It may not be there; that is what was wanted.
        drop(fs::remove_file(self.folder.join(format!("{part}.pid"))));
    }
}

/// Field 22 of `/proc/<pid>/stat`: a number reused later has another one.
fn start_ticks(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold spaces and brackets; what follows the last one does not.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// The release binary.
pub(crate) fn binary() -> PathBuf {
    sh::target().join("release/shipway")
}

/// Builds, starts, deploys, shows.
pub(crate) fn up() -> anyhow::Result<()> {
    ensure!(sh::read("id", &["-u"])?.trim() == "0", "run this as root: containers need it");
    say("building a release binary (the first time takes some minutes)");
    sh::run("cargo", &["build", "--release", "--package", "shipway"])?;
    let started = Started::here();
    fs::create_dir_all(&started.folder)?;
    start(&started, "files", FILES, file_server())?;
    start(&started, "shipway", SHIPWAY, shipway(&started))?;
    wait_ready(&started)?;
    wait_for_files(&started)?;
    deploy_examples()?;
    show_examples()?;
    tell("\nStop everything with `make down`.");
    Ok(())
}

fn file_server() -> Command {
    let (address, port) = FILES.split_once(':').expect("the address has a port");
    sh::command("python3", &["-m", "http.server", port, "--bind", address, "--directory", "examples"])
}

fn shipway(started: &Started) -> Command {
    let mut command = sh::command(&binary().to_string_lossy(), &["serve"]);
    command
        .env("SHIPWAY_STATE_DIR", started.state())
        .env("SHIPWAY_RUN_DIR", started.run())
        .env("SHIPWAY_LISTEN", SHIPWAY)
        .env("SHIPWAY_API_OPEN", "loopback")
        .env("SHIPWAY_FETCH_ALLOW", FILES);
    command
}

fn start(started: &Started, part: &str, address: &str, mut command: Command) -> anyhow::Result<()> {
    let running = started.process(part).or_else(|| (part == "shipway").then(|| started.serving()).flatten());
    if let Some(pid) = running {
        say(&format!("{part} is running already (process {pid})"));
        return Ok(());
    }
    let address: SocketAddr = address.parse()?;
    let holder = port::holder(address);
    // A proxy outlives a `serve` that was killed, and the next one adopts it.
    let is_ours = holder.as_ref().is_some_and(|holder| holder.command.ends_with(&started.proxy()));
    if !is_ours && TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
        let holder = holder.map_or_else(|| "an unknown process".to_owned(), |holder| holder.to_string());
        bail!("{address} is taken by {holder}; stop it first (`make up` needs {SHIPWAY} and {FILES})");
    }
    let log = OpenOptions::new().create(true).append(true).open(started.log(part))?;
    // A group of its own: Ctrl-C at this terminal is not meant for it.
    let child = command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    started.remember(part, &child.with_context(|| format!("cannot start the {part}"))?)
}

/// Waits until the file server listens: Shipway may well be quicker.
#[expect(clippy::disallowed_methods, reason = "another process becomes ready: nothing here to wait on but the clock")]
fn wait_for_files(started: &Started) -> anyhow::Result<()> {
    let begun = Instant::now();
    let address: SocketAddr = FILES.parse()?;
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        ensure!(started.process("files").is_some(), "the file server ended; see {}", started.log("files").display());
        ensure!(begun.elapsed() < READY_LIMIT, "the file server does not listen on {FILES}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until Shipway says it is ready, or has ended.
#[expect(clippy::disallowed_methods, reason = "another process becomes ready: nothing here to wait on but the clock")]
fn wait_ready(started: &Started) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut told = false;
    while begun.elapsed() < READY_LIMIT {
        let url = format!("http://{SHIPWAY}/readyz");
        let ready = Command::new("curl")
            .args(["-fsS", "-m", "2", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if ready.success() {
            return Ok(());
        }
        if started.process("shipway").is_none() {
            bail!("shipway ended while starting; its last words:\n{}", tail(&started.log("shipway")));
        }
        if !told && begun.elapsed() > Duration::from_secs(1) {
            say("starting (the first time makes an image of this host's packages)");
            told = true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("shipway is not ready after {} s; see {}", READY_LIMIT.as_secs(), started.log("shipway").display());
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

fn deploy_examples() -> anyhow::Result<()> {
    for (name, file, kind) in EXAMPLES {
        let url = format!("http://{FILES}/{file}");
        sh::run(
            &binary().to_string_lossy(),
            &["--url", &format!("http://{SHIPWAY}"), "deploy", &url, "--name", name, kind],
        )?;
    }
    Ok(())
}

fn show_examples() -> anyhow::Result<()> {
    for (name, _, _) in EXAMPLES {
        let url = format!("http://{name}.localhost:8080/");
        let answer = sh::read("curl", &["-fsS", "-m", "10", &url])?;
        tell(&format!("\n$ curl {url}\n{}", answer.trim_end()));
    }
    Ok(())
}
