//! From what somebody wants to the build that makes it.
//!
//! What was made, or is being made, is found without writing anything: asking for it again
//! costs two reads of the store. A build whose artifact is gone, one that failed for a reason that may have passed, or
//! that somebody cancelled, is begun anew by asking again; one that failed for good is answered
//! as it is, unless its asker insists.

use shipway_gobuild::spec::go_label;
use shipway_gobuild::{Recipe, Request, Spec};
use shipway_model::{Build, BuildState, FailureCode};
use shipway_store::BuildRequest;

use super::trouble::unknown_recipe;
use super::{parts, present, toolchain};
use crate::access::{Action, Caller};
use crate::app::App;
use crate::config::BuildParts;
use crate::reply::Reject;

/// Whether what was made already is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is, and so is a failure that would come again.
    IfItMayHelp,
    /// No: make it anew.
    Always,
}

/// The recipe of a name.
pub(crate) fn recipe<'a>(parts: &'a BuildParts, name: &str) -> Result<&'a Recipe, Reject> {
    parts.recipes.iter().find(|recipe| recipe.name == name).ok_or_else(|| unknown_recipe(parts, name))
}

/// Finds the build of a request, or asks for it. The flag says whether it was asked for now.
pub(crate) async fn ask(app: &App, caller: &Caller, request: Request, again: Again) -> Result<(Build, bool), Reject> {
    let parts = parts(app)?;
    let recipe = recipe(parts, &request.recipe)?;
    let resolved = app.builds.memo.settle(&parts.resolver, recipe, &request).await?;
    let go = toolchain::choose(app, parts, &resolved.go).await?;
    let spec = Spec::new(recipe.clone(), (*resolved).clone(), go);
    place(app, caller, &spec, again).await
}

/// Asks for another build of the same spec, newer than this one.
pub(crate) async fn rebuild(app: &App, caller: &Caller, build: &Build) -> Result<(Build, bool), Reject> {
    let spec = present::spec(build)?;
    caller.may(Action::Build, &build.project)?;
    let order = order(caller, build.project.clone(), build.key.clone(), &spec, build.generation);
    Ok(app.parts.store.request_build(order).await?)
}

async fn place(app: &App, caller: &Caller, spec: &Spec, again: Again) -> Result<(Build, bool), Reject> {
    let (store, project, key) = (&app.parts.store, caller.0.project(), spec.key());
    let is_of_no_use = |newest: &Build| wants_another(&newest.state, again) || app.builds.gone.has(newest.id);
    let after = match store.find_build_of_key(&project, key.as_str()).await? {
        Some(newest) if newest.state.is_final() && is_of_no_use(&newest) => newest.generation,
        Some(newest) => return Ok((newest, false)),
        None => 0,
    };
    Ok(store.request_build(order(caller, project, key.as_str().to_owned(), spec, after)).await?)
}

fn order(caller: &Caller, project: shipway_model::ProjectName, key: String, spec: &Spec, after: u32) -> BuildRequest {
    BuildRequest {
        project,
        recipe: spec.recipe.name.clone(),
        key,
        spec: spec.to_json(),
        actor: caller.0.word(),
        after,
        labels: [go_label(&spec.go)].into(),
    }
}

fn wants_another(state: &BuildState, again: Again) -> bool {
    match (again, state) {
        (Again::Always, _) | (_, BuildState::Cancelled) => true,
        (Again::IfItMayHelp, BuildState::Failed(failure)) => may_pass(failure.code),
        (Again::IfItMayHelp, _) => false,
    }
}

/// Whether a failure has nothing to do with what was asked for. `Internal` is one of them: so
/// ends a build whose workers were lost, or met proxies that were away, until it was given up.
pub(crate) const fn may_pass(code: FailureCode) -> bool {
    matches!(
        code,
        FailureCode::StorageUnavailable
            | FailureCode::EngineUnavailable
            | FailureCode::FetchFailed
            | FailureCode::FetchTimeout
            | FailureCode::Cancelled
            | FailureCode::Internal
    )
}
