//! What was acknowledged: written down, and synced, by the tester, who is never killed.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// A request as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Names it, in the task's row and in the container.
    pub nonce: String,
    /// The kind of its task.
    pub kind: String,
    /// Whether it kills whoever works on it.
    pub poison: bool,
    /// The task that was acknowledged; none when no answer came, so that nobody knows.
    pub task: Option<String>,
    /// The build that was acknowledged, where one was asked for.
    pub build: Option<String>,
}

impl Asked {
    /// Whether an answer came.
    #[must_use]
    pub const fn is_acknowledged(&self) -> bool {
        self.task.is_some() || self.build.is_some()
    }
}

/// All that was asked in one run.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    all: Mutex<Vec<Asked>>,
}

impl Ledger {
    /// Begins a ledger in this file.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn begin(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().append(true).create_new(true).open(path)?, all: Mutex::default() })
    }

    /// Writes down what became of a request; it is on the disk afterwards.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn write(&self, asked: Asked) -> io::Result<()> {
        let mut line = serde_json::to_vec(&asked)?;
        line.push(b'\n');
        (&self.file).write_all(&line)?;
        self.file.sync_data()?;
        self.lock().push(asked);
        Ok(())
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> Vec<Asked> {
        self.lock().clone()
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.lock().iter().filter(|asked| asked.is_acknowledged()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
