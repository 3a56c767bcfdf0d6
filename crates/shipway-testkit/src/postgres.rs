//! A real PostgreSQL, Debian's, of the test's own.
//!
//! It runs as an unprivileged user (the server refuses root), in a temporary directory,
//! reached over a unix socket there. A small shell waits beside it for the end of the test
//! process, however that comes, and then stops the server and removes everything. Where
//! that shell is killed too (a whole namespace of processes ended), the next start removes
//! what was left.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Waits for the end of its standard input, then clears up: `$1` user, `$2` group, `$3`
/// the control program, `$4` the data, `$5` all of it.
const GUARDIAN: &str = r#"trap "" INT TERM HUP QUIT
cat >/dev/null
setpriv --reuid="$1" --regid="$2" --clear-groups "$3" -D "$4" -m immediate -w stop >/dev/null 2>&1
rm -rf "$5""#;

/// How the folders of servers begin.
const PREFIX: &str = "shipway-postgres-";

/// The file in them that their owner has locked.
const LOCK: &str = "lock";

/// What a test's server needs and no more. What it writes need not survive the machine's
/// end, only its own.
const CONFIGURATION: &str = "
listen_addresses = ''
fsync = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
autovacuum_naptime = 5s
log_min_messages = warning
";

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Politely: clients are disconnected, and what is in memory is written.
    Fast,
    /// Like a crash: it recovers at the next start.
    Immediate,
}

/// A running server. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    user: (u32, u32),
    guardian: Child,
    made: AtomicU32,
    /// Says that the folder is in use.
    _lock: File,
}

impl Postgres {
    /// Makes a cluster and starts a server on it. Needs root, and Debian's `postgresql`
    /// (`scripts/setup.sh test`).
    ///
    /// # Errors
    ///
    /// It is not installed, or cannot be started; its own words are in the error.
    pub fn start() -> io::Result<Self> {
        let programs = newest_programs()?;
        let user = unprivileged_user()?;
        sweep()?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?.keep();
        let lock = File::create(folder.join(LOCK))?;
        lock.lock()?;
        fs::set_permissions(&folder, Permissions::from_mode(0o711))?;
        chown(&folder, Some(user.0), Some(user.1))?;
        let guardian = guard(&programs, &folder, user)?;
        let server = Self { programs, folder, user, guardian, made: AtomicU32::new(0), _lock: lock };
        server.run("initdb", &["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"])?;
        let mut file = File::options().append(true).open(server.data().join("postgresql.conf"))?;
        writeln!(file, "{CONFIGURATION}unix_socket_directories = '{}'", server.folder.display())?;
        server.resume()?;
        Ok(server)
    }

    /// The one server of this process, started when it is first asked for.
    ///
    /// # Panics
    ///
    /// When it cannot be started: no test on PostgreSQL is skipped.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start() {
            Ok(server) => server,
            Err(error) => panic!("the tests need PostgreSQL (scripts/setup.sh test): {error}"),
        })
    }

    /// What `DATABASE_URL` is for this database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{database}")
    }

    /// Lets it listen on an address of this thread's network as well, for whoever is there.
    /// Everybody who is connected is disconnected.
    ///
    /// # Errors
    ///
    /// In the server's words.
    pub fn listen(&self, address: std::net::IpAddr) -> io::Result<()> {
        let append = |name: &str, line: String| {
            let mut file = File::options().append(true).open(self.data().join(name))?;
            writeln!(file, "{line}")
        };
        append("postgresql.conf", format!("listen_addresses = '{address}'"))?;
        append("pg_hba.conf", "host all all all trust".to_owned())?;
        self.stop(Stop::Fast)?;
        self.resume()
    }

    /// What `DATABASE_URL` is for this database at an address of [`listen`](Self::listen).
    #[must_use]
    pub fn url_at(&self, address: std::net::IpAddr, database: &str) -> String {
        format!("postgres://postgres@{address}/{database}")
    }

    /// The folder of its socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a database with a name of its own, empty or a copy of another.
    ///
    /// # Errors
    ///
    /// In the server's words.
    pub fn create(&self, template: Option<&str>) -> io::Result<String> {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let template = template.map_or_else(String::new, |template| format!(" TEMPLATE {template}"));
        self.query("postgres", &format!("CREATE DATABASE {name}{template}"))?;
        Ok(name)
    }

    /// Removes a database, whoever is connected to it.
    ///
    /// # Errors
    ///
    /// In the server's words.
    pub fn remove(&self, database: &str) -> io::Result<()> {
        self.query("postgres", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).map(drop)
    }

    /// Ends all sessions of a database, and waits until they have.
    ///
    /// # Errors
    ///
    /// In the server's words.
    pub fn disconnect(&self, database: &str) -> io::Result<()> {
        let sql = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname =";
        self.query("postgres", &format!("{sql} '{database}'")).map(drop)
    }

    /// Runs statements with `psql` and returns what it printed, values only.
    ///
    /// # Errors
    ///
    /// In the server's words.
    pub fn query(&self, database: &str, sql: &str) -> io::Result<String> {
        let url = self.url(database);
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql]);
        said(&mut command)
    }

    /// A database as SQL, as `pg_dump` writes it.
    ///
    /// # Errors
    ///
    /// In the program's words.
    pub fn dump(&self, database: &str) -> io::Result<String> {
        said(Command::new(self.programs.join("pg_dump")).args(["--inserts", "-d", &self.url(database)]))
    }

    /// Stops the server.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn stop(&self, how: Stop) -> io::Result<()> {
        let how = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.run("pg_ctl", &["-m", how, "-w", "stop"])
    }

    /// Starts it (again).
    ///
    /// # Errors
    ///
    /// In the server's words.
    pub fn resume(&self) -> io::Result<()> {
        let log = self.folder.join("log");
        self.run("pg_ctl", &["-w", "-t", "120", "-l", &log.display().to_string(), "start"])
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Runs one of its programs on its data, as its user.
    fn run(&self, program: &str, words: &[&str]) -> io::Result<()> {
        let (user, group) = self.user;
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        command.arg(self.programs.join(program)).arg("-D").arg(self.data()).args(words);
        // Nobody's own settings, and a place it may be in.
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir(&self.folder);
        said(&mut command).map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        drop(self.guardian.wait());
    }
}

/// Removes folders whose owner is gone. One that has no lock yet is just being made.
fn sweep() -> io::Result<()> {
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let Some(lock) = ours.then(|| File::open(entry.path().join(LOCK)).ok()).flatten() else { continue };
        if lock.try_lock().is_ok() {
            // Its guardian may be doing the same.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    Ok(())
}

fn guard(programs: &Path, folder: &Path, (user, group): (u32, u32)) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", GUARDIAN, "guardian", &user.to_string(), &group.to_string()])
        .args([&programs.join("pg_ctl"), &folder.join("data"), folder])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Where Debian puts the programs of the newest version that is installed.
fn newest_programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")?.flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let with_server =
        numbered.map(|(version, path)| (version, path.join("bin"))).filter(|(_, bin)| bin.join("initdb").exists());
    let newest = with_server.max_by_key(|(version, _)| *version);
    newest.map(|(_, bin)| bin).ok_or_else(|| io::Error::other("there is no server in /usr/lib/postgresql"))
}

/// The user of Debian's package: the server wants one that has a name.
fn unprivileged_user() -> io::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut numbers = line.into_iter().flat_map(|line| line.split(':').skip(2)).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => Err(io::Error::other("there is no user postgres")),
    }
}

/// What a program printed; its complaints if it failed.
fn said(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}{complaint}", String::from_utf8_lossy(&output.stdout))))
}
