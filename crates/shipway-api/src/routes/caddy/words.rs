//! How the older systems ask for a build, and how they speak of one.

use serde::Deserialize;
use shipway_gobuild::request::{Plugin, parse_plugin, parse_replacement};
use shipway_gobuild::{Platform, Query as VersionQuery, Request};
use shipway_model::{Build, BuildState};

use crate::app::App;
use crate::builds::ask::recipe;
use crate::builds::parts;
use crate::builds::trouble::{malformed, without_artifact};
use crate::query::Query;
use crate::reply::Reject;

/// The one recipe these systems know.
pub(super) const RECIPE: &str = "caddy";

/// What is asked for, still in words.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) version: String,
    /// Each `package[@version]`.
    pub(super) plugins: Vec<String>,
    /// Each `old=new@version`.
    pub(super) replacements: Vec<String>,
    pub(super) os: String,
    pub(super) arch: String,
    pub(super) arm: Option<String>,
}

impl Words {
    /// Of a query: `os`, `arch`, `arm`, `version`, and any number of `p` and `r`. All else is ignored.
    pub(super) fn of(query: &Query) -> Self {
        // A version may end in `+incompatible`; not everybody knows how to write that in a query.
        let plain = |text: &str| text.replace(' ', "+");
        Self {
            version: query.text("version").map(plain).unwrap_or_default(),
            plugins: query.all("p").map(plain).collect(),
            replacements: query.all("r").map(plain).collect(),
            os: query.text("os").unwrap_or_default().to_owned(),
            arch: query.text("arch").unwrap_or_default().to_owned(),
            arm: query.text("arm").map(str::to_owned),
        }
    }

    /// Checks the words.
    pub(super) fn request(&self, app: &App) -> Result<Request, Reject> {
        let parts = parts(app)?;
        let platform = Platform::parse(&self.os, &self.arch, self.arm.as_deref());
        let platform = platform.map_err(|error| malformed(&error.into(), "os"))?;
        let version = VersionQuery::parse(&self.version).map_err(|source| {
            let item = self.version.chars().take(200).collect();
            malformed(&shipway_gobuild::RequestError::Malformed { item, source }, "version")
        })?;
        let plugins: Result<Vec<Plugin>, _> = self.plugins.iter().map(|text| parse_plugin(text)).collect();
        let plugins = plugins.map_err(|error| malformed(&error, "p"))?;
        let replacements: Result<Vec<_>, _> = self.replacements.iter().map(|text| parse_replacement(text)).collect();
        let replacements = replacements.map_err(|error| malformed(&error, "r"))?;
        let recipe = recipe(parts, RECIPE)?;
        Request::new(recipe, version, plugins, replacements, platform, parts.plugins_max)
            .map_err(|error| malformed(&error, "p"))
    }
}

/// The state of a build in the old words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaddyBuildState {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Building,
    /// There is a binary.
    Completed,
    /// There will be none; also when somebody did not want it any more.
    Failed,
}

impl CaddyBuildState {
    pub(super) const fn of(state: &BuildState) -> Self {
        match state {
            BuildState::Pending => Self::Pending,
            BuildState::Building => Self::Building,
            BuildState::Success(_) => Self::Completed,
            BuildState::Failed(_) | BuildState::Cancelled => Self::Failed,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Building => "building",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// Why there is no binary. What the request is to blame for has one status, 422; our own faults
/// keep theirs.
pub(super) fn failed(build: &Build) -> Reject {
    let mut reject = without_artifact(build);
    if reject.problem.status < 500 {
        reject.problem.status = 422;
    }
    reject
}
