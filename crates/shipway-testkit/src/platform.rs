//! The real binary, in a directory of its own.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::http::{self, Answer};
use crate::wait_until;

/// The first start makes the host image, and the machine may be busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(240);

/// What a command of the CLI printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How a platform differs from the default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Further environment of `serve`.
    pub environment: Vec<(String, String)>,
    /// What it does; nothing is all.
    pub roles: Option<String>,
}

impl Settings {
    /// The name of its log: processes with some of the roles may share a folder.
    fn log(&self) -> String {
        self.roles.as_ref().map_or_else(|| "serve.log".to_owned(), |roles| format!("serve-{roles}.log"))
    }

    fn has(&self, role: &str) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.split(',').any(|one| one == role))
    }
}

/// A running Shipway. Dropping it ends the process, its proxy and its containers.
#[derive(Debug)]
pub struct Platform {
    binary: PathBuf,
    folder: Arc<tempfile::TempDir>,
    settings: Settings,
    child: Child,
    address: SocketAddr,
    /// How often it was started.
    starts: usize,
}

impl Platform {
    /// Starts `binary` with `serve` and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    ///
    /// # Panics
    ///
    /// It ends, or is not ready in time; its log is printed.
    pub fn start(binary: &Path, settings: Settings) -> io::Result<Self> {
        let mut platform = Self::begin(binary, settings)?;
        platform.wait_ready();
        Ok(platform)
    }

    /// The same, and does not wait.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn begin(binary: &Path, settings: Settings) -> io::Result<Self> {
        // The proxy's user must be able to pass through to the sockets.
        let passable = fs::Permissions::from_mode(0o711);
        let folder = tempfile::Builder::new().prefix("shipway-test-").permissions(passable).tempdir()?;
        Self::begin_in(binary, settings, Arc::new(folder))
    }

    /// Another process on the same directories, as on one machine; not waited for. It is
    /// to be dropped before this one.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn begin_beside(&self, settings: Settings) -> io::Result<Self> {
        Self::begin_in(&self.binary, settings, Arc::clone(&self.folder))
    }

    fn begin_in(binary: &Path, settings: Settings, folder: Arc<tempfile::TempDir>) -> io::Result<Self> {
        let child = spawn(binary, folder.path(), &settings)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { binary: binary.to_owned(), folder, settings, child, address, starts: 1 })
    }

    /// Waits until what was begun is ready.
    ///
    /// # Panics
    ///
    /// It ends, or is not ready in time; its log is printed.
    pub fn wait_ready(&mut self) {
        wait_until("its roles are ready", READY_LIMIT, || {
            self.assert_runs();
            (self.log().matches("ready roles=").count() >= self.starts).then_some(())
        });
        if self.settings.has("proxy") {
            self.wait_open();
        }
    }

    fn wait_open(&mut self) {
        let listeners = self.run_dir().join("listeners.json");
        self.address = wait_until("the listener is open", READY_LIMIT, || {
            self.assert_runs();
            let text = fs::read_to_string(&listeners).ok()?;
            let listeners: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
            listeners.first()?.get("address")?.as_str()?.parse().ok()
        });
        if !self.settings.has("api") {
            return;
        }
        wait_until("shipway is ready", READY_LIMIT, || {
            self.assert_runs();
            let answer = http::get(self.address, "localhost", "/readyz").ok()?;
            (answer.status == 200).then_some(())
        });
    }

    fn assert_runs(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        assert!(ended.is_none(), "shipway serve ended ({ended:?}); its log:\n{}", self.log());
    }

    /// Where visitors connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process id of `serve`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its run directory.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Its state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// What `serve` has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(self.settings.log())).unwrap_or_default()
    }

    /// Kills `serve` alone, with signal 9.
    ///
    /// # Errors
    ///
    /// It has ended already.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts `serve` again on the same directories.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.binary, self.folder.path(), &self.settings)?;
        self.starts += 1;
        self.wait_ready();
        Ok(())
    }

    /// Asks a service by its name, as a visitor.
    ///
    /// # Errors
    ///
    /// Any error of the connection.
    pub fn visit(&self, service: &str, path: &str) -> io::Result<Answer> {
        http::get(self.address, &format!("{service}.localhost"), path)
    }

    /// Runs a command of the CLI against it.
    ///
    /// # Errors
    ///
    /// The binary cannot be started.
    pub fn cli(&self, words: &[&str]) -> io::Result<Output> {
        let url = format!("http://{}", self.address);
        let output =
            Command::new(&self.binary).args(["--url", &url]).args(words).env_clear().stdin(Stdio::null()).output()?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Ends everything: `serve`, the proxy, the containers.
    ///
    /// # Errors
    ///
    /// The binary cannot be started.
    pub fn down(&mut self) -> io::Result<Output> {
        let (state, run) = (self.state_dir(), self.run_dir());
        let set = [format!("state_dir={}", state.display()), format!("run_dir={}", run.display())];
        let output = self.cli(&["down", "--set", &set[0], "--set", &set[1]]);
        self.child.wait()?;
        output
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows what the platform said")]
            {
                eprintln!("--- log of shipway serve ---\n{}", self.log());
            }
        }
        // A test may have ended it already. Who shares the folder is ended by the last.
        if Arc::strong_count(&self.folder) == 1 {
            drop(self.down());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(binary: &Path, folder: &Path, settings: &Settings) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join(settings.log()))?;
    Command::new(binary)
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SHIPWAY_STATE_DIR", folder.join("state"))
        .env("SHIPWAY_RUN_DIR", folder.join("run"))
        .env("SHIPWAY_LISTEN", "127.0.0.1:0")
        // Their disks would be made with every start.
        .env("SHIPWAY_BUILDS_ENABLED", "false")
        .env("SHIPWAY_API_OPEN", "loopback")
        .env("SHIPWAY_LOG_FORMAT", "human")
        .env("NO_COLOR", "1")
        .envs(settings.roles.iter().map(|roles| ("SHIPWAY_ROLES", roles)))
        .envs(settings.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
