//! Builds: programs made of a version, plugins and a platform, and what comes of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TaskFailure;

/// What to build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildCreate {
    /// Which program: `caddy` or `k6`. `caddy` unless told.
    #[serde(default = "caddy")]
    #[schema(example = "caddy")]
    pub recipe: String,
    /// Its version: exact, a prefix as `v2`, a branch, or `latest`, which it is unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "latest")]
    pub version: Option<String>,
    /// Plugins, each `package[@version]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Modules whose content is taken from another: `old[@version]=new@version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacements: Vec<String>,
    /// The operating system it is for, as Go calls it.
    #[schema(example = "linux")]
    pub os: String,
    /// The architecture it is for, as Go calls it.
    #[schema(example = "amd64")]
    pub arch: String,
    /// Which arm, for `arch` `arm` only: 5, 6 or 7. 6 unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<u8>,
    /// Make it anew, even if it was made, or failed for good.
    #[serde(default)]
    pub force: bool,
}

fn caddy() -> String {
    "caddy".to_owned()
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// A UUID.
    pub id: String,
    /// Whose.
    pub project: String,
    /// The program's recipe.
    pub recipe: String,
    /// The digest of everything that decides its output, 64 hexadecimal digits. Of one key there
    /// is one build at a time.
    pub key: String,
    /// Which build of its key, from 1.
    pub generation: u32,
    /// How far it has come.
    pub state: BuildState,
    /// The program, as `github.com/caddyserver/caddy/v2@v2.11.9`.
    pub program: String,
    /// Its plugins, each with the module that holds it, at the version that was settled.
    pub plugins: Vec<BuildPlugin>,
    /// Replacements, each `old[@version]=new@version`.
    pub replacements: Vec<String>,
    /// The operating system it is for.
    pub os: String,
    /// The architecture it is for.
    pub arch: String,
    /// Which arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<u8>,
    /// The Go that makes it.
    pub go: String,
    /// How often it was begun, and charged for it; none when that was long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// As often it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u64>,
    /// The worker that has it, or had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<BuildFailure>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<BuildArtifact>,
    /// When it was asked for, RFC 3339.
    pub created_at: String,
    /// When its state changed last, RFC 3339.
    pub updated_at: String,
}

/// How far a build has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Building,
    /// There is an artifact.
    Success,
    /// There will be none.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl BuildState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Building, Self::Success, Self::Failed, Self::Cancelled];

    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Building => "building",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it will change no more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Cancelled)
    }
}

/// A plugin of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildPlugin {
    /// The package that is imported.
    pub package: String,
    /// The module that holds it.
    pub module: String,
    /// The module's version.
    pub version: String,
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildFailure {
    /// Code and sentence.
    #[serde(flatten)]
    pub failure: TaskFailure,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines that the failing step said: the compiler's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
}

/// What a build made. Its URLs are relative to the API's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildArtifact {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// What it is called where it is used: `caddy`, `caddy.exe`.
    pub file_name: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Where its bytes are.
    pub url: String,
}

/// A line that a step of a build said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildLine {
    /// When it came, RFC 3339; lines that came together have one time.
    pub at: String,
    /// The step that said it.
    pub step: String,
    /// Its text.
    pub text: String,
    /// Where to go on from: `?cursor=`, or `Last-Event-ID`. Opaque; lines that came together
    /// have one.
    pub cursor: String,
}

/// What signatures of artifacts are checked with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKeys {
    /// As `minisign -P` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minisign: Option<String>,
    /// Armoured, as `gpg --import` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openpgp: Option<String>,
}
