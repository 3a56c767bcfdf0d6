//! What the commands know of the world, said by the binary.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a server on this machine keeps its admin token, unless its state is elsewhere.
const TOKEN_FILE: &str = "/var/lib/shipway/admin-token";

/// What the binary knows of where it runs, so that this crate need not look.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether this is root, who may open the admin socket.
    pub is_root: bool,
    /// Whether standard error is a terminal: then progress is shown.
    pub stderr_is_terminal: bool,
    /// Whether standard output is a terminal: then there may be colours.
    pub stdout_is_terminal: bool,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// The admin socket of a server on this machine.
    pub admin_socket: PathBuf,
    /// Whether there is a screen to open a browser on.
    pub has_display: bool,
}

/// [`Surroundings`], and the three streams.
pub struct Env {
    /// What is around.
    pub surroundings: Surroundings,
    /// Files that may hold a token, tried in order; only for a server on this machine.
    pub token_files: Vec<PathBuf>,
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
    /// Seconds since 1970, for ages.
    pub now_seconds: i64,
}

impl Env {
    /// What a real process has.
    #[must_use]
    pub fn of_process(surroundings: &Surroundings) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            surroundings: surroundings.clone(),
            token_files: vec![PathBuf::from(TOKEN_FILE)],
            stdin: Box::new(std::io::stdin()),
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
            now_seconds: now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("surroundings", &self.surroundings).finish_non_exhaustive()
    }
}
