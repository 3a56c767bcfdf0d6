//! A real `PgBouncer` in transaction mode: each transaction gets whichever session is free.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Postgres;

/// A running pooler before a server. Dropping it ends it.
#[derive(Debug)]
pub struct Pooler {
    child: Child,
    folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts a pooler with three sessions for each database. Needs root, and Debian's
    /// `pgbouncer` (`scripts/setup.sh test`). It takes a moment until it answers.
    ///
    /// # Errors
    ///
    /// It is not installed, or cannot be started.
    pub fn start(server: &Postgres) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("shipway-pooler-").tempdir()?;
        let (sockets, place) = (folder.path().display(), server.socket_folder().display());
        let settings = format!(
            "[databases]\n* = user=postgres host={place}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {sockets}\n\
             listen_port = 6432\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
             max_client_conn = 200\nadmin_users = postgres\nlogfile = {sockets}/log\n"
        );
        let child = begin(folder.path(), &settings)?;
        Ok(Self { child, folder })
    }

    /// What `DATABASE_URL` is for this database, through the pooler.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:6432/{database}?statement-cache-capacity=0")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn begin(folder: &Path, settings: &str) -> io::Result<Child> {
    let file = folder.join("pgbouncer.ini");
    #[expect(clippy::disallowed_methods, reason = "nobody reads it before it is whole")]
    fs::write(&file, settings)?;
    // It refuses root as well.
    let given = Command::new("chown").args(["-R", "postgres"]).arg(folder).status()?;
    if !given.success() {
        return Err(io::Error::other("the folder cannot be given to the user postgres"));
    }
    Command::new("setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "KILL", "pgbouncer"])
        .arg(&file)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
