//! What an answer means: once, here.
//!
//! | answer | meaning |
//! |---|---|
//! | no connection, a broken one, nothing in time | transient |
//! | a certificate that nobody here trusts | refused |
//! | 408, 425, 429, every 5xx but 501; `SlowDown`, `RequestTimeout` and the like, with whatever status | transient |
//! | `NoSuchBucket`; 401, 403 | refused, and the setting is named |
//! | `RequestTimeTooSkewed` | refused: the host's clock is wrong |
//! | a redirect | refused: the region or the endpoint is another |
//! | 404 of a key, 409, 412 | what was asked about is not there, or is another |
//! | all else | refused |

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};
use shipway_dial::is_distrust;

use crate::error::ArtifactError;

/// Most letters of a server's own words that are passed on.
const WORDS_SHOWN: usize = 200;
const BUSY: &[&str] = &[
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "ThrottlingException",
    "RequestLimitExceeded",
];
const REFUSED: &[&str] = &[
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "NoSuchBucket",
    "RequestTimeTooSkewed",
    "AccountProblem",
    "AllAccessDisabled",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
];

/// An answer that is not the one hoped for, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// None came, or only a part.
    None { reason: String },
    /// The server could not prove who it is.
    Distrusted { reason: String },
    /// One came.
    Said { status: StatusCode, code: String, words: String },
}

impl Answer {
    pub(super) fn late(what: &str, limit: Duration) -> Self {
        Self::None { reason: format!("{what} did not come within {} ms", limit.as_millis()) }
    }

    pub(super) fn broken(error: &(dyn StdError + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut distrusted = is_distrust(error);
        let mut cause = error.source();
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            distrusted |= is_distrust(error);
            cause = error.source();
        }
        if distrusted { Self::Distrusted { reason } } else { Self::None { reason } }
    }

    /// Sorts an answer; `None` for what whoever asked can make sense of.
    pub(super) fn of(status: StatusCode, words: &[u8], about_a_key: bool) -> Option<Self> {
        let words = String::from_utf8_lossy(words);
        let code = tag(&words, "Code").unwrap_or_default().to_owned();
        let passed = match status.as_u16() {
            // A completion that has gone wrong says so in its body.
            200..=299 => tag(&words, "Error").is_none(),
            404 => about_a_key && code != "NoSuchBucket",
            409 => code != "OperationAborted",
            304 | 412 => true,
            _ => false,
        };
        let words = tag(&words, "Message").unwrap_or_default();
        let words = words.chars().filter(|letter| !letter.is_control()).take(WORDS_SHOWN).collect();
        (!passed).then_some(Self::Said { status, code, words })
    }

    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::None { .. } => true,
            Self::Distrusted { .. } => false,
            Self::Said { code, .. } if BUSY.contains(&code.as_str()) => true,
            Self::Said { code, .. } if REFUSED.contains(&code.as_str()) => false,
            Self::Said { status, code, .. } => match status.as_u16() {
                408 | 425 | 429 | 200..=299 => true,
                409 => code == "OperationAborted",
                501 => false,
                status => status >= 500,
            },
        }
    }

    fn setting(&self) -> &'static str {
        let Self::Said { status, code, .. } = self else {
            return "storage.s3.endpoint (or the host's CA certificates)";
        };
        match (code.as_str(), status.as_u16()) {
            ("NoSuchBucket", _) => "storage.s3.bucket",
            ("InvalidAccessKeyId", _) => "storage.s3.access_key",
            ("SignatureDoesNotMatch", _) => "storage.s3.secret_key",
            ("AuthorizationHeaderMalformed", _) => "storage.s3.region",
            ("RequestTimeTooSkewed", _) => "the host's clock",
            (_, 301 | 302 | 307 | 308) => "storage.s3.region or storage.s3.endpoint",
            (_, 404) => "storage.s3.bucket or storage.s3.endpoint",
            (_, 401 | 403) => "storage.s3.access_key (is it allowed to use the bucket?)",
            _ => "storage.s3",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { reason } | Self::Distrusted { reason } => f.write_str(reason),
            Self::Said { status, code, words } if code.is_empty() && words.is_empty() => write!(f, "S3 said {status}"),
            Self::Said { status, code, words } => write!(f, "S3 said {status}: {code}: {words}"),
        }
    }
}

impl StdError for Answer {}

impl From<Answer> for HttpError {
    fn from(answer: Answer) -> Self {
        // Of this kind nothing is tried again.
        Self::new(HttpErrorKind::Decode, answer)
    }
}

impl From<Answer> for ArtifactError {
    fn from(answer: Answer) -> Self {
        if answer.is_transient() {
            return Self::unavailable(answer.to_string());
        }
        Self::Refused { setting: answer.setting(), reason: answer.to_string() }
    }
}

/// What an error of `object_store` means.
pub(super) fn sorted(error: object_store::Error) -> ArtifactError {
    match answer(&error) {
        Some(answer) => answer.clone().into(),
        // An answer that could not be understood, or bytes that did not come.
        None => ArtifactError::unavailable(error.to_string()),
    }
}

/// Whether a part was asked for that begins behind the end.
pub(super) fn is_past_the_end(error: &object_store::Error) -> bool {
    matches!(answer(error), Some(Answer::Said { status, .. }) if *status == StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Our own answer, somewhere in the chain.
pub(super) fn answer<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Answer> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(answer) = error.downcast_ref() {
            return Some(answer);
        }
        next = error.source();
    }
    None
}

/// The text of the first element of a name; S3's answers are flat enough for this.
fn tag<'a>(words: &'a str, name: &str) -> Option<&'a str> {
    let from = words.find(&format!("<{name}>"))? + name.len() + 2;
    let until = words[from..].find(&format!("</{name}>"))?;
    Some(&words[from..from + until])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, code: &str, expected: &str) {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>");
        let answer = Answer::of(StatusCode::from_u16(status).unwrap(), body.as_bytes(), true);
        let found = answer.map(|answer| match ArtifactError::from(answer) {
            ArtifactError::Unavailable { .. } => "transient".to_owned(),
            ArtifactError::Refused { setting, .. } => setting.to_owned(),
            other => other.to_string(),
        });
        assert_eq!(found.as_deref().unwrap_or("passed on"), expected, "{status} {code}");
    }

    #[test]
    fn answers_are_sorted() {
        check(503, "SlowDown", "transient");
        check(500, "InternalError", "transient");
        check(200, "InternalError", "transient");
        check(429, "", "transient");
        check(400, "RequestTimeout", "transient");
        check(502, "", "transient");
        check(409, "OperationAborted", "transient");
        check(404, "NoSuchKey", "passed on");
        check(404, "NoSuchUpload", "passed on");
        check(412, "PreconditionFailed", "passed on");
        check(404, "NoSuchBucket", "storage.s3.bucket");
        check(403, "InvalidAccessKeyId", "storage.s3.access_key");
        check(403, "SignatureDoesNotMatch", "storage.s3.secret_key");
        check(403, "RequestTimeTooSkewed", "the host's clock");
        check(403, "AccessDenied", "storage.s3.access_key (is it allowed to use the bucket?)");
        check(301, "PermanentRedirect", "storage.s3.region or storage.s3.endpoint");
        check(501, "NotImplemented", "storage.s3");
        check(400, "InvalidPart", "storage.s3");
    }

    #[test]
    fn a_404_of_the_bucket_itself_is_no_missing_artifact() {
        let answer = Answer::of(StatusCode::NOT_FOUND, b"", false).unwrap();
        assert_eq!(answer.setting(), "storage.s3.bucket or storage.s3.endpoint");
    }

    #[test]
    fn words_of_a_server_are_cut() {
        let body = format!("<Message>{}\u{1b}[31m</Message>", "x".repeat(10_000));
        let answer = Answer::of(StatusCode::FORBIDDEN, body.as_bytes(), true).unwrap();
        assert!(answer.to_string().len() < 300);
    }
}
