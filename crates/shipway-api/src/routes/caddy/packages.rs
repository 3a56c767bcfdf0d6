//! `GET /api/packages`: the plugins that this farm has built, newest first.
//!
//! The download page lists what somebody has registered; a farm knows what it has built. Its
//! builds are the list, so it is bounded by how long they are kept.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shipway_api_types::ProblemCode;
use shipway_gobuild::Spec;
use shipway_model::Build;
use shipway_stdx::clock::rfc3339;
use shipway_store::BuildFilter;

use super::words::RECIPE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::builds::parts;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Rules, Verb};
use crate::reply::{ErrorStyle, Reject};

/// Builds that are looked through, the newest ones.
const BUILDS_MAX: usize = 2_000;
/// Read at once.
const BATCH: u32 = 500;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&PACKAGES, packages)]
}

static PACKAGES: Rules = Rules {
    verb: Verb::Get,
    path: "/api/packages",
    access: Access::Needs(Action::BuildAnonymously),
    pace: Pace::Quick,
    errors: ErrorStyle::ErrorObject,
    doc: Doc {
        id: "caddy_packages",
        tag: "caddy build server",
        summary: "List the plugins this farm has built",
        description: "In the form of Caddy's download page.",
        parameters: &[],
        request: None,
        answers: &[Answer { status: 200, doc: "The packages.", content: Some(Content::json("CaddyPackages")) }],
        problems: &[ProblemCode::BuildsUnavailable],
    },
};

/// The list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CaddyPackages {
    /// What was built last comes first.
    result: Vec<CaddyPackage>,
}

/// A package that was built.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CaddyPackage {
    /// Always the same for one path.
    id: String,
    /// The import path.
    path: String,
    /// When it was first built, RFC 3339.
    published: String,
    /// Always true.
    listed: bool,
    /// Always true.
    available: bool,
    /// How many builds have it.
    downloads: u64,
    /// The module that holds it, as a URL.
    repo: String,
    /// Its modules; none are told of yet.
    modules: Vec<CaddyModule>,
}

/// A module of a package.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CaddyModule {
    /// Its id, `http.handlers.rate_limit`.
    name: String,
    /// What its author writes of it.
    docs: String,
    /// The package that registers it.
    package: String,
    /// Where it comes from.
    repo: String,
}

async fn packages(State(app): State<App>, caller: Caller) -> Result<Response, Reject> {
    parts(&app)?;
    let mut found: Vec<CaddyPackage> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for build in built(&app, &caller).await? {
        let Ok(spec) = Spec::parse(&build.spec) else { continue };
        for plugin in spec.resolved.plugins {
            let path = plugin.package.to_string();
            let place = *places.entry(path.clone()).or_insert_with(|| {
                found.push(package(path, plugin.module.as_str()));
                found.len() - 1
            });
            found[place].downloads += 1;
            // The last one that is seen is the oldest.
            found[place].published = rfc3339(build.created_at);
        }
    }
    Ok(Json(CaddyPackages { result: found }).into_response())
}

/// Successful builds, the newest first.
async fn built(app: &App, caller: &Caller) -> Result<Vec<Build>, Reject> {
    let filter = BuildFilter { recipe: Some(RECIPE.to_owned()), state: Some("success".to_owned()) };
    let mut builds: Vec<Build> = Vec::new();
    loop {
        let before = builds.last().map(|build| build.number);
        let page = app.parts.store.list_builds(&caller.0.project(), &filter, before, BATCH).await?;
        let is_last = page.len() < BATCH as usize;
        builds.extend(page);
        if is_last || builds.len() >= BUILDS_MAX {
            return Ok(builds);
        }
    }
}

fn package(path: String, module: &str) -> CaddyPackage {
    let digest: [u8; 32] = Sha256::digest(&path).into();
    let id = uuid::Builder::from_custom_bytes(digest[..16].try_into().expect("16 of 32")).into_uuid();
    CaddyPackage {
        id: id.to_string(),
        path,
        published: String::new(),
        listed: true,
        available: true,
        downloads: 0,
        repo: format!("https://{module}"),
        modules: Vec::new(),
    }
}
