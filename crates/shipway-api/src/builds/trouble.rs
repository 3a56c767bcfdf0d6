//! What went wrong with a build, as a problem.

use http::header;
use shipway_api_types::ProblemCode;
use shipway_artifacts::ArtifactError;
use shipway_gobuild::RequestError;
use shipway_gobuild::resolve::{ResolveError, Verdict};
use shipway_model::{Build, BuildState};

use crate::config::BuildParts;
use crate::reply::Reject;

/// A recipe that nobody knows.
pub(super) fn unknown_recipe(parts: &BuildParts, name: &str) -> Reject {
    let names: Vec<&str> = parts.recipes.iter().map(|recipe| recipe.name.as_str()).collect();
    let detail = format!("there is no recipe {name:?}; there are {}", names.join(", "));
    Reject::new(ProblemCode::InvalidBuild, detail.clone()).field("#/recipe", detail)
}

/// A request that cannot mean anything, at this place of it.
pub(crate) fn malformed(error: &RequestError, pointer: &str) -> Reject {
    let detail = error.to_string();
    Reject::new(ProblemCode::InvalidBuild, detail.clone()).field(pointer, detail)
}

/// A request that could not be settled.
pub(super) fn unresolved(error: &ResolveError) -> Reject {
    let code = match error.verdict() {
        Verdict::Mistake | Verdict::Refused => ProblemCode::Unresolved,
        Verdict::Broken => ProblemCode::ModuleProxyBroken,
        Verdict::Transient => ProblemCode::ModuleProxyUnavailable,
        Verdict::Checksum => ProblemCode::ChecksumMismatch,
    };
    let reject = Reject::new(code, error.to_string()).field(&error.item, error.cause.to_string());
    match error.verdict() {
        Verdict::Refused => reject.hint("the module proxy will not serve it; no other one is asked then"),
        Verdict::Transient => reject.hint("try again in a while").header(header::RETRY_AFTER, "10"),
        _ => reject,
    }
}

/// An artifact that cannot be read.
pub(super) fn unreadable(error: &ArtifactError) -> Reject {
    match error {
        ArtifactError::Missing { .. } => Reject::new(ProblemCode::NotFound, "the artifact is no longer kept")
            .hint("ask for the build again: it is made anew"),
        ArtifactError::Unavailable { .. } | ArtifactError::Refused { .. } => {
            tracing::warn!(error = %error, "artifacts cannot be read");
            Reject::new(ProblemCode::StorageUnavailable, "artifacts cannot be read now")
                .header(header::RETRY_AFTER, "5")
        }
        _ => Reject::internal(error),
    }
}

/// Why a build that has ended has no artifact. In the words of older systems there is one
/// status for all that the request is to blame for.
pub(crate) fn without_artifact(build: &Build) -> Reject {
    match &build.state {
        BuildState::Failed(failure) => Reject::from(failure.clone()),
        BuildState::Cancelled => Reject::new(ProblemCode::Cancelled, "the build was cancelled"),
        state => Reject::new(ProblemCode::Conflict, format!("the build is {}", state.word())),
    }
}
