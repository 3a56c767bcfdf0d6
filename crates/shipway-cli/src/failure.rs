//! How a command fails: what it says, and its exit code.

use std::io;

use shipway_api_types::ProblemCode;
use shipway_client::Error;
use shipway_stdx::chain;

use crate::commands::Context;

/// Done.
pub(crate) const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 4;
const UNAVAILABLE: u8 = 5;
/// Shipway itself failed, not the command it was to run.
const EXEC_FAILED: u8 = 125;
/// As shells have it: the command is there and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// As shells have it: there is no such command.
const NO_SUCH_PROGRAM: u8 = 127;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The API, or the way to it.
    Client(Error),
    /// The command line asks for what cannot be.
    Usage(String),
    /// A file or the terminal.
    Io(String, io::Error),
    /// Something else that did not go as asked, with what to do about it.
    Said(String, Option<String>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl Failure {
    /// Writing to standard output failed.
    pub(crate) fn output(error: io::Error) -> Self {
        Self::Io("cannot write the output".to_owned(), error)
    }

    /// Whether somebody only stopped reading, as `head` does.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self, is_exec: bool) -> u8 {
        if self.is_broken_pipe() {
            return DONE;
        }
        let code = match self {
            Self::Client(Error::Unreachable { .. } | Error::Broken(_)) => UNAVAILABLE,
            Self::Client(Error::Refused(problem)) => match problem.status {
                404 => NOT_FOUND,
                401 | 403 => REFUSED,
                503 => UNAVAILABLE,
                _ => FAILED,
            },
            Self::Usage(_) => USAGE,
            Self::Client(_) | Self::Io(..) | Self::Said(..) => FAILED,
        };
        if is_exec && code != USAGE { self.exec_code() } else { code }
    }

    /// `exec` leaves all codes but these three to the command.
    fn exec_code(&self) -> u8 {
        let code = match self {
            Self::Client(Error::Refused(problem)) => problem.known_code(),
            _ => None,
        };
        match code {
            Some(ProblemCode::NoSuchProgram) => NO_SUCH_PROGRAM,
            Some(ProblemCode::NotExecutable) => NOT_EXECUTABLE,
            _ => EXEC_FAILED,
        }
    }

    /// Says what went wrong, on standard error: the error, what belongs to it, and
    /// after an empty line what to do.
    pub(crate) fn tell(&self, context: &mut Context) {
        if self.is_broken_pipe() {
            return;
        }
        if context.globals.json
            && let Self::Client(Error::Refused(problem)) = self
        {
            let json = serde_json::to_string(problem).unwrap_or_default();
            return context.complain(&format!("{json}\n"));
        }
        let red = context.paint_error("error:");
        let mut text = format!("{red} {}\n", self.sentence());
        if let Self::Client(Error::Refused(problem)) = self {
            for field in problem.errors.iter().filter(|_| problem.errors.len() > 1) {
                text.push_str(&format!("  {}: {}\n", field.pointer, field.detail));
            }
            if !problem.log_tail.is_empty() {
                text.push_str("its log ends with:\n");
            }
            for line in &problem.log_tail {
                text.push_str(&format!("  {}\n", crate::show::harmless(line)));
            }
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format!("\nhint: {hint}\n"));
        }
        context.complain(&text);
    }

    fn sentence(&self) -> String {
        match self {
            Self::Client(error) => chain(error),
            Self::Usage(text) | Self::Said(text, _) => text.clone(),
            Self::Io(doing, error) => format!("{doing}: {error}"),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(Error::Unreachable { .. }) => {
                Some("is it running? `shipway serve` starts it; --url says where it is".to_owned())
            }
            Self::Client(Error::Refused(problem)) => problem.hint.clone(),
            Self::Client(Error::Nonsense(_)) => {
                Some("another program may be answering there; --url says where shipway is".to_owned())
            }
            Self::Usage(_) => Some("--help tells how".to_owned()),
            Self::Said(_, hint) => hint.clone(),
            Self::Client(_) | Self::Io(..) => None,
        }
    }
}
