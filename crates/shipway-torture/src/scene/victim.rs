//! A part's process, in the tester's hands.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::{PATIENCE, until};
use crate::load;
use crate::part::Config;

/// A process that plays a part. Dropping it kills it.
#[derive(Debug)]
pub struct Victim {
    /// What it plays.
    pub config: Config,
    /// How it was started.
    pub wrapping: Wrapping,
    child: Child,
}

/// How a part is started otherwise than usual.
#[derive(Debug, Clone, Default)]
pub struct Wrapping {
    /// The program that runs it, with its words.
    pub before: Vec<String>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
    /// Another build of this program.
    pub program: Option<PathBuf>,
}

impl Victim {
    /// Starts a part. To be called on a thread that stays: with it the part would end.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        Self::wrapped(config, &Wrapping::default())
    }

    /// Starts a part in the hands of another program.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn wrapped(config: &Config, wrapping: &Wrapping) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(config.journal.with_extension("log"))?;
        let program = wrapping.program.clone().map_or_else(program, Ok)?;
        // Whatever happens to the tester, nothing of it is left.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(&wrapping.before)
            .arg(program)
            .args(["part", &serde_json::to_string(config)?])
            .envs(wrapping.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start a part")?;
        Ok(Self { config: config.clone(), wrapping: wrapping.clone(), child })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers.
    ///
    /// # Errors
    ///
    /// It ends, or does not answer in time.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let child = &mut self.child;
        let socket = self.config.socket.clone();
        let answer = until("a part answers", PATIENCE, async || match child.try_wait() {
            Ok(None) => load::counts(&socket).await.ok().map(|_| Ok(())),
            ended => Some(Err(anyhow::anyhow!("it ended: {ended:?}"))),
        });
        answer.await?.with_context(|| format!("part {}", self.config.name))
    }

    /// Kills it with signal 9, and waits for its end.
    ///
    /// # Errors
    ///
    /// It was not there any more.
    pub fn kill(mut self) -> anyhow::Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// It is not there any more.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, signal)?)
    }

    /// Whether it has ended.
    ///
    /// # Errors
    ///
    /// It cannot be asked for.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It has not ended in time.
    pub async fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let child = &mut self.child;
        until("a part ends", limit, async || child.try_wait().transpose()).await?.map_err(Into::into)
    }

    /// Asks it to stop, as an operator does, and waits until it has.
    ///
    /// # Errors
    ///
    /// It does not, or not well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait(PATIENCE).await.with_context(|| format!("part {}", self.config.name))?;
        if !status.success() {
            bail!("part {} ended with {status}", self.config.name);
        }
        Ok(())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program that plays parts: this one, unless a test says where it is.
fn program() -> anyhow::Result<PathBuf> {
    Ok(crate::runs::program().map_or_else(std::env::current_exe, |path| Ok(path.to_owned()))?)
}
