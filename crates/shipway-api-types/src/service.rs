//! A service: something long-running with an address.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::release::{HealthCheck, Limits};

/// A service and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// A UUID; also the label of its host name.
    pub id: String,
    /// A DNS label, unique in its project.
    pub name: String,
    /// Who owns it.
    pub project: String,
    /// What it is doing.
    pub state: ServiceState,
    /// Why, when the state is `unhealthy` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was asked for.
    pub wanted: Wanted,
    /// The release visitors reach, or would after `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u32>,
    /// Whether that release's content is served or run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContentKind>,
    /// Where visitors find it, by id: this address never changes.
    pub url: String,
    /// Every address it answers at.
    pub urls: Vec<String>,
    /// When it was first asked for, RFC 3339.
    pub created_at: String,
    /// When it last changed, RFC 3339.
    pub updated_at: String,
    /// Changes with every change: give it in `If-Match`.
    pub etag: String,
    /// Which worker has its containers, where there may be several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<ServiceWorker>,
}

/// The worker that has a service's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceWorker {
    /// Its name.
    pub id: String,
    /// The machine it runs on.
    pub host: String,
    /// Whether it was heard of lately. If not, what is said of the service is what was last
    /// known; it is taken up again when the worker returns.
    pub reachable: bool,
    /// For how long it has not been heard of.
    pub silent_for_seconds: u64,
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Nothing has been live yet, or it is coming back.
    Starting,
    /// Visitors reach it.
    Live,
    /// Its container keeps dying.
    Unhealthy,
    /// Stopped, as asked.
    Stopped,
    /// Its first deploy did not become ready.
    Failed,
}

impl ServiceState {
    /// Every state, in the order of a service's life.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Live, Self::Unhealthy, Self::Stopped, Self::Failed];

    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Unhealthy => "unhealthy",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Answering visitors.
    Running,
    /// Kept, with its releases, but not running.
    Stopped,
}

/// What a visitor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// The file itself, at `/`.
    Static,
    /// What the file prints when it is run, on every path.
    Script,
}

impl ContentKind {
    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Script => "script",
        }
    }
}

/// What serves a service inside its container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// Shipway's own small program.
    #[default]
    Native,
    /// Nginx, with fcgiwrap for scripts: packages `nginx` and `fcgiwrap` of the host, or of
    /// the image given.
    Nginx,
}

impl Runner {
    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Nginx => "nginx",
        }
    }
}

/// What a deploy asks for. Exactly one of `url`, `upload` and `image` is given; with the
/// runner `nginx` an image may stand beside the url or the upload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePut {
    /// Fetched now, and never again: `http` or `https`, a public address, no user or password in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://example.com/hello.sh")]
    pub url: Option<String>,
    /// The digest that `POST /v1/uploads` answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9")]
    pub upload: Option<String>,
    /// Name of an imported image that `command` runs in, or, with the runner `nginx`, that
    /// content is served in. What it means now is kept with the release: another import under
    /// the name changes nothing that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "debian:bookworm-slim")]
    pub image: Option<String>,
    /// With `image`: program and arguments, given to no shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// With `image`: the TCP port that the command listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 8000)]
    pub port: Option<u16>,
    /// With `image`: what the command speaks on that port. `http1` unless told; a gRPC server
    /// speaks `h2c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// With `upload`: the file's name, which decides its type when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// With `upload`: its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `static` (served as it is) or `script` (run on every request). `static` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContentKind>,
    /// What serves content: `native` unless told, or `nginx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<Runner>,
    /// Environment of the script or command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it may use; what is not given has its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// When it counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// What it may reach: `none` (unless told), or the public `internet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

/// What a command speaks on its port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, with WebSocket and every other upgrade.
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge: gRPC. Visitors may use HTTP/1.1 all the same.
    H2c,
}

/// What a service may reach of the world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// Nothing.
    #[default]
    None,
    /// The public internet, and what the operator allows besides (`network.allow`).
    Internet,
}

/// Which release to go back to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its number; the last one that was live before, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u32>,
}

/// Uploaded content, kept by what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Give it as `upload` of a deploy.
    pub digest: String,
    /// Its length.
    pub size_bytes: u64,
}
