//! A build as the API shows it.

use shipway_api_types as api;
use shipway_gobuild::Spec;
use shipway_gobuild::resolved::SettledReplacement;
use shipway_model::{Artifact, Build, BuildState, Failure};
use shipway_stdx::clock::rfc3339;
use shipway_store::BuildWork;

use crate::reply::Reject;

/// The spec that a build was written down as.
pub(crate) fn spec(build: &Build) -> Result<Spec, Reject> {
    Spec::parse(&build.spec).map_err(|error| Reject::internal(format!("the spec of build {}: {error}", build.id)))
}

/// A build, and who works on it.
pub(crate) fn build(build: &Build, work: Option<&BuildWork>) -> Result<api::Build, Reject> {
    let spec = spec(build)?;
    let resolved = &spec.resolved;
    Ok(api::Build {
        id: build.id.to_string(),
        project: build.project.to_string(),
        recipe: build.recipe.clone(),
        key: build.key.clone(),
        generation: build.generation,
        state: state(&build.state),
        program: resolved.program.to_string(),
        plugins: resolved
            .plugins
            .iter()
            .map(|plugin| api::BuildPlugin {
                package: plugin.package.to_string(),
                module: plugin.module.to_string(),
                version: plugin.version.to_string(),
            })
            .collect(),
        replacements: resolved.replacements.iter().map(replacement).collect(),
        os: resolved.platform.os().to_owned(),
        arch: resolved.platform.arch().to_owned(),
        arm: resolved.platform.arm(),
        go: spec.go.clone(),
        attempts: work.map(|work| work.attempt),
        attempts_max: work.map(|work| work.attempts_max),
        worker: work.and_then(|work| work.worker.clone()),
        failure: match &build.state {
            BuildState::Failed(found) => Some(failure(found)),
            _ => None,
        },
        artifact: match &build.state {
            BuildState::Success(made) => Some(artifact(build, made)),
            _ => None,
        },
        created_at: rfc3339(build.created_at),
        updated_at: rfc3339(build.updated_at),
    })
}

/// `old[@version]=new@version`.
pub(crate) fn replacement(replacement: &SettledReplacement) -> String {
    let old = match &replacement.old_version {
        Some(version) => format!("{}@{version}", replacement.old),
        None => replacement.old.to_string(),
    };
    format!("{old}={}@{}", replacement.new, replacement.version)
}

const fn state(state: &BuildState) -> api::BuildState {
    match state {
        BuildState::Pending => api::BuildState::Pending,
        BuildState::Building => api::BuildState::Building,
        BuildState::Success(_) => api::BuildState::Success,
        BuildState::Failed(_) => api::BuildState::Failed,
        BuildState::Cancelled => api::BuildState::Cancelled,
    }
}

fn failure(failure: &Failure) -> api::BuildFailure {
    api::BuildFailure {
        failure: api::TaskFailure { code: failure.code.word().to_owned(), detail: failure.detail.clone() },
        hint: failure.hint.clone(),
        log_tail: failure.log_tail.clone(),
    }
}

fn artifact(build: &Build, artifact: &Artifact) -> api::BuildArtifact {
    api::BuildArtifact {
        digest: artifact.digest.to_string(),
        size_bytes: artifact.size_bytes,
        file_name: artifact.file_name.clone(),
        made_at: rfc3339(artifact.made_at),
        url: format!("/v1/builds/{}/artifact", build.id),
    }
}
