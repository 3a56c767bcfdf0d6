//! What each command does. One function per command, in the file of its kind.

use std::future::Future;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use shipway_client::{Client, Error};

use crate::args::{Command, Globals, ProgramCommand, WaitArgs};
use crate::connection;
use crate::env::Env;
use crate::failure::{DONE, Failure};
use crate::progress;

mod build;
mod builds;
mod change;
mod deploy;
mod exec;
mod follow;
mod image;
mod list;
mod local;
mod queue;
mod token;
mod verify;
mod watch;

/// What every command has at hand.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) env: Env,
}

impl Context {
    pub(crate) const fn new(globals: Globals, env: Env) -> Self {
        Self { globals, env }
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        connection::client(&self.globals, &self.env)
    }

    /// Data, on standard output.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let out = &mut self.env.stdout;
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
    }

    /// A value as JSON, for people who pipe it and for programs.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::output(e.into()))?;
        self.print(&format!("{text}\n"))
    }

    /// One item of a stream as a line of JSON.
    pub(crate) fn print_json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|e| Failure::output(e.into()))?;
        self.print(&format!("{text}\n"))
    }

    /// Something a person may want to know, on standard error.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.globals.quiet && !self.globals.json {
            self.complain(&format!("{text}\n"));
        }
    }

    /// Standard error. If even that is closed, nobody is there to be told.
    pub(crate) fn complain(&mut self, text: &str) {
        drop(self.env.stderr.write_all(text.as_bytes()));
        drop(self.env.stderr.flush());
    }

    /// Colours a text on standard output, if it is a terminal that may have colours.
    pub(crate) fn paint(&self, colour: Option<&str>, text: &str) -> String {
        let wanted = self.env.surroundings.stdout_is_terminal && !self.globals.no_color;
        match colour {
            Some(colour) if wanted => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// The same for the word that begins an error.
    pub(crate) fn paint_error(&self, text: &str) -> String {
        if self.env.surroundings.stderr_is_terminal && !self.globals.no_color {
            format!("\u{1b}[1;31m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Waits for an answer, with a sign of life when it takes long.
    pub(crate) async fn during<T>(
        &self,
        message: String,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let visible = self.env.surroundings.stderr_is_terminal && !self.globals.quiet;
        Ok(progress::during(visible, message, None, work).await?)
    }

    /// The same, for an upload that counts what it has sent.
    pub(crate) async fn during_upload<T>(
        &self,
        message: String,
        sent: &progress::Sent,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let visible = self.env.surroundings.stderr_is_terminal && !self.globals.quiet;
        Ok(progress::during(visible, message, Some(sent), work).await?)
    }
}

impl WaitArgs {
    pub(crate) fn limit(self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(300);
        if self.no_wait { Duration::ZERO } else { self.wait.min(LONGEST) }
    }

    /// What to say when a change was not done in time: nothing to be sorry for if
    /// nobody wanted to wait.
    pub(crate) fn overdue(self, what: &str) -> Result<u8, Failure> {
        if self.no_wait {
            return Ok(DONE);
        }
        let text = format!("{what} is still at work after {} s", self.limit().as_secs());
        let hint = "it goes on by itself; `shipway events NAME` tells what becomes of it";
        Err(Failure::Said(text, Some(hint.to_owned())))
    }
}

/// Runs a command and returns its exit code.
pub(crate) async fn run(context: &mut Context, command: Command) -> Result<u8, Failure> {
    use Command as C;
    match command {
        C::Deploy(args) => deploy::deploy(context, *args).await,
        C::Ps(args) => list::ps(context, args).await,
        C::Logs(args) => follow::logs(context, args).await,
        C::Exec(args) => exec::exec(context, args).await,
        C::Stats(args) => list::stats(context, args).await,
        C::Stop(args) => change::stop(context, args).await,
        C::Start(args) => change::start(context, args).await,
        C::Restart(args) => change::restart(context, args).await,
        C::Releases(args) => list::releases(context, args).await,
        C::Diff(args) => list::diff(context, args).await,
        C::Rollback(args) => change::rollback(context, args).await,
        C::Rm(args) => change::rm(context, args).await,
        C::Open(args) => local::open(context, args).await,
        C::Events(args) => follow::events(context, args).await,
        C::Inspect(args) => list::inspect(context, args).await,
        C::Image(command) => image::image(context, command).await,
        C::Caddy(ProgramCommand::Build(args)) => build::program(context, "caddy", *args).await,
        C::K6(ProgramCommand::Build(args)) => build::program(context, "k6", *args).await,
        C::Builds(args) => builds::list(context, args).await,
        C::Build(command) => build::build(context, command).await,
        C::Verify(args) => verify::verify(context, args).await,
        C::Token(command) => token::token(context, command).await,
        C::Tasks(args) => queue::tasks(context, args).await,
        C::Workers(args) => queue::workers(context, args).await,
        C::Completions(args) => local::completions(context, &args),
        C::Version => local::version(context),
        C::Install
        | C::Uninstall(_)
        | C::Serve(_)
        | C::Worker(_)
        | C::Janitor(_)
        | C::Upgrade(_)
        | C::Facts
        | C::Down(_)
        | C::Doctor(_)
        | C::Config(_)
        | C::Db(_)
        | C::Openapi
        | C::Proxy(_) => Err(Failure::Usage("this command belongs to the platform's binary".to_owned())),
    }
}
