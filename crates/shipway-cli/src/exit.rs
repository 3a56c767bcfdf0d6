//! What a command that failed says, and its exit status.

use shipway_api_types::{Problem, ProblemCode};
use shipway_client::{AddressError, Error};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// What happened, in a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The container's last log lines, where they tell more.
    pub log_tail: Vec<String>,
    /// The exit status.
    pub code: u8,
    /// As the API said it.
    pub problem: Option<Box<Problem>>,
}

impl Failure {
    /// A failure of this side: wrong usage, a file that cannot be read.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, log_tail: Vec::new(), code, problem: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self::new(2, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { ref source, .. } => Self::new(5, format!("{error}: {source}"))
                .hint("start it with `shipway serve`, or say where it is with --url"),
            Error::Broken(ref source) => Self::new(5, format!("{error}: {source}")),
            Error::Nonsense(_) => Self::new(5, error.to_string()),
            Error::File { ref source, .. } => Self::new(1, format!("{error}: {source}")),
            Error::Refused(problem) => told(problem),
        }
    }
}

fn told(problem: Box<Problem>) -> Failure {
    let message = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    let code = match problem.status {
        404 => 3,
        401 | 403 => 4,
        503 if problem.code == ProblemCode::StorageUnavailable.word() => 5,
        _ => 1,
    };
    let hint = problem.hint.clone().or_else(|| {
        let hint = "give a token with --token or SHIPWAY_TOKEN; the first one is in <state_dir>/admin-token";
        (problem.status == 401).then(|| hint.to_owned())
    });
    Failure { message, hint, log_tail: problem.log_tail.clone(), code, problem: Some(problem) }
}
