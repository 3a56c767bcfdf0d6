//! What goes wrong, for programs and for people: RFC 9457, `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in a few words; the same for every problem of that code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One of the stable words listed under `ProblemCode`. A client meets new
    /// ones as the API grows.
    pub code: String,
    /// What happened this time, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it, if we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Every field that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The container's last log lines, where they tell more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
    /// Find the request in Shipway's log by this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Which: a JSON pointer into the body as a URI fragment (`#/limits/pids`),
    /// or `path:name`, `query:limit`, `header:If-Match`, `rule:absolute` (of an archive).
    pub pointer: String,
    /// What is wrong with it, and what was expected.
    pub detail: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $status:literal, $title:literal;)+) => {
        /// The stable words of problems: added to, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum ProblemCode {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $name,)+
        }

        impl ProblemCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word, as in JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The HTTP status it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The code in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means, for the documentation.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    InvalidJson = "invalid_json", 400, "The body is not JSON";
    /// One or more fields of the body are wrong; `errors` names each.
    InvalidField = "invalid_field", 400, "A field is wrong";
    /// The name breaks the rule for names, or is taken by Shipway itself.
    InvalidName = "invalid_name", 400, "The name cannot be used";
    /// The URL cannot be read as one.
    InvalidUrl = "invalid_url", 400, "The URL cannot be used";
    /// A parameter of the query, or a header, is wrong.
    InvalidParameter = "invalid_parameter", 400, "A parameter is wrong";
    /// The URL may not be fetched: its scheme, user part, port or address. Nothing was connected.
    FetchRefused = "fetch_refused", 400, "The URL may not be fetched";
    /// No token came with the request, or one that is not valid.
    Unauthorized = "unauthorized", 401, "A valid token is needed";
    /// The token is valid and may not do this.
    Forbidden = "forbidden", 403, "This is not allowed";
    /// The request comes from a web page of another origin.
    ForeignOrigin = "foreign_origin", 403, "Pages of other origins are refused";
    /// There is no such thing, or it is not yours to see.
    NotFound = "not_found", 404, "There is no such thing";
    /// There is no such release, or its content is gone.
    NoSuchRelease = "no_such_release", 404, "There is no such release";
    /// There is no such program in the container.
    NoSuchProgram = "no_such_program", 404, "There is no such program";
    /// The image was removed, or never imported.
    NoSuchImage = "no_such_image", 404, "There is no such image";
    /// The path knows other methods; see `Allow`.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed";
    /// The service cannot do this in its present state.
    Conflict = "conflict", 409, "Not possible now";
    /// The service is being deleted.
    Deleting = "deleting", 409, "The service is being deleted";
    /// A release that can still run is on the image.
    ImageInUse = "image_in_use", 409, "The image is in use";
    /// There is no release to start: nothing was ever live.
    NothingToStart = "nothing_to_start", 409, "There is nothing to start";
    /// The service has no running container.
    NotRunning = "not_running", 409, "The service is not running";
    /// What the cursor points at was too long ago and is no longer kept; begin anew, without it.
    EventsForgotten = "events_forgotten", 410, "The events are no longer kept";
    /// The thing has changed since: `If-Match` names another version.
    PreconditionFailed = "precondition_failed", 412, "The service has changed since";
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// The body's media type is not the one this route reads.
    UnsupportedMediaType = "unsupported_media_type", 415, "The media type is not supported";
    /// The `Host` header names no host of the API.
    WrongHost = "wrong_host", 421, "The API does not answer on this host name";
    /// The new release did not become ready; a release that was live before still is.
    ReleaseNotReady = "release_not_ready", 422, "The new release did not become ready";
    /// The program is in the container and may not or cannot be executed.
    NotExecutable = "not_executable", 422, "The program cannot be executed";
    /// The archive breaks a rule: the detail and `errors` name it. Nothing of it was kept.
    ArchiveRefused = "archive_refused", 422, "The archive is refused";
    /// The image could not be made: what was run for it says why.
    BootstrapFailed = "bootstrap_failed", 422, "The image could not be made";
    /// A WebSocket is needed here.
    UpgradeRequired = "upgrade_required", 426, "A WebSocket is needed";
    /// Our bug. The log has more under the request id.
    Internal = "internal", 500, "Something is wrong inside Shipway";
    /// What makes images is not installed on the server.
    BootstrapUnavailable = "bootstrap_unavailable", 501, "Images cannot be made on this server";
    /// The old contract's word for every service that could not be started.
    FailedCreateJob = "failed_create_job", 500, "The service could not be started";
    /// The origin answered with another status than 200.
    FetchStatus = "fetch_status", 502, "The origin did not answer 200";
    /// The origin could not be reached, or broke off, or lied about the length.
    FetchFailed = "fetch_failed", 502, "The origin could not be read";
    /// The origin's content is larger than allowed.
    FetchTooLarge = "fetch_too_large", 502, "The content is too large";
    /// A module or version does not exist, was retracted, or is refused by the module proxy.
    ModuleRefused = "module_refused", 422, "A module is not to be had";
    /// A module's content is not what the checksum database says.
    ChecksumMismatch = "checksum_mismatch", 422, "A module is not what it was";
    /// The program does not compile; the log has the compiler's own lines.
    CompileFailed = "compile_failed", 422, "It does not compile";
    /// The compiled program does not run, or a plugin is not in it.
    BuildUnusable = "build_unusable", 422, "The built program is of no use";
    /// A step of a build took longer than allowed.
    BuildTimeout = "build_timeout", 422, "The build took too long";
    /// A step of a build took more memory or disk than allowed.
    BuildTooLarge = "build_too_large", 422, "The build needs too much";
    /// Somebody did not want it any more.
    Cancelled = "cancelled", 409, "It was cancelled";
    /// The store cannot be used now. Try again: it recovers by itself when the cause goes.
    StoreUnavailable = "store_unavailable", 503, "The store cannot be used now";
    /// Content cannot be kept now: the disk is full or read-only.
    StorageUnavailable = "storage_unavailable", 503, "Content cannot be kept now";
    /// The container engine cannot do it now.
    EngineUnavailable = "engine_unavailable", 503, "The container engine cannot do it now";
    /// Too many requests at once. Try again after `Retry-After`.
    Overloaded = "overloaded", 503, "Too many requests at once";
    /// The origin took too long.
    FetchTimeout = "fetch_timeout", 504, "The origin took too long";
    /// The request took longer than allowed.
    Timeout = "timeout", 504, "The request took too long";
}

impl ProblemCode {
    /// Reads a code's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }
}

impl Problem {
    /// Makes a problem of a code, with what happened this time.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/docs#{}", code.word()),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.word().to_owned(),
            detail: detail.into(),
            hint: None,
            instance: String::new(),
            errors: Vec::new(),
            log_tail: Vec::new(),
            request_id: String::new(),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a field that is wrong.
    #[must_use]
    pub fn with_field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// The code, if this version knows it.
    #[must_use]
    pub fn known_code(&self) -> Option<ProblemCode> {
        ProblemCode::from_word(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_by_its_word() {
        for code in ProblemCode::ALL {
            assert_eq!(ProblemCode::from_word(code.word()), Some(*code));
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.word()));
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(!code.doc().trim().is_empty());
        }
    }

    #[test]
    fn words_are_unique() {
        let mut words: Vec<_> = ProblemCode::ALL.iter().map(|code| code.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ProblemCode::ALL.len());
    }

    #[test]
    fn an_empty_problem_has_no_empty_fields() {
        let json = serde_json::to_value(Problem::new(ProblemCode::NotFound, "")).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["type", "title", "status", "code"]);
    }
}
