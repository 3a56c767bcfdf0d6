//! `GET /api/packages`: the plugins that this farm has built, newest first, and those it was told of.
//!
//! The download page lists what somebody has registered; a farm knows what it has built, and what its
//! operator names (`builds.packages`). Its builds are the list, so it is bounded by how long they are kept.
//! What the packages register is found in their source; what is not known yet is in the list without it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shipway_api_types::ProblemCode;
use shipway_gobuild::Spec;
use shipway_gobuild::request::Plugin;
use shipway_model::Build;
use shipway_stdx::clock::rfc3339;
use shipway_store::BuildFilter;

use super::words::RECIPE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::builds::ask::recipe;
use crate::builds::parts;
use crate::builds::registrations::{Found, Sources, Wanted};
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Rules, Verb};
use crate::reply::{ErrorStyle, Reject};

/// Longest that what the packages register is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
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
        summary: "List the plugins this farm has built, or was told of",
        description: "In the form of Caddy's download page. Modules are found in the source of the plugins, in the background: who \
            asks first may get fewer than who asks a little later.",
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
    /// When it was first built, RFC 3339; empty if it was not.
    published: String,
    /// Always true.
    listed: bool,
    /// Whether it was built, or would be found.
    available: bool,
    /// How many builds have it.
    downloads: u64,
    /// The module that holds it, as a URL.
    repo: String,
    /// What it registers, as far as that is known: the first who asks may be too early.
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

/// A package on its way into the list.
struct Seen {
    package: CaddyPackage,
    wanted: Wanted,
}

async fn packages(State(app): State<App>, caller: Caller) -> Result<Response, Reject> {
    let parts = parts(&app)?;
    let mut seen = seen(&built(&app, &caller).await?);
    for plugin in &parts.packages {
        if !seen.iter().any(|seen| seen.package.path == plugin.package.as_str()) {
            seen.push(told(plugin));
        }
    }
    let sources = Sources {
        store: app.parts.store.clone(),
        resolver: parts.resolver.clone(),
        recipe: recipe(parts, RECIPE)?.clone(),
        scratch: parts.scratch.clone(),
    };
    let wanted: Vec<Wanted> = seen.iter().map(|seen| seen.wanted.clone()).collect();
    let found = app.builds.registrations.of(&sources, &wanted, PATIENCE).await;
    let result = seen.into_iter().zip(found).map(|(seen, found)| with_modules(seen, found.as_deref())).collect();
    Ok(Json(CaddyPackages { result }).into_response())
}

/// The packages of these builds, what was built last first.
fn seen(builds: &[Build]) -> Vec<Seen> {
    let (mut seen, mut places): (Vec<Seen>, BTreeMap<String, usize>) = (Vec::new(), BTreeMap::new());
    for build in builds {
        let Ok(spec) = Spec::parse(&build.spec) else { continue };
        for plugin in spec.resolved.plugins {
            let path = plugin.package.to_string();
            let place = *places.entry(path.clone()).or_insert_with(|| {
                let (module, version) = (plugin.module.clone(), plugin.version.clone());
                let package = package(path, module.as_str());
                seen.push(Seen { package, wanted: Wanted::Built { module, version, build: build.id } });
                seen.len() - 1
            });
            let seen = &mut seen[place];
            seen.package.downloads += 1;
            // The last one that is seen is the oldest, and keeps what is found for all later ones.
            seen.package.published = rfc3339(build.created_at);
            if let Wanted::Built { version, build: keeper, .. } = &mut seen.wanted
                && *version == plugin.version
            {
                *keeper = build.id;
            }
        }
    }
    seen
}

/// One that nobody has built.
fn told(plugin: &Plugin) -> Seen {
    let path = plugin.package.to_string();
    let package = package(path.clone(), &path);
    Seen { package: CaddyPackage { available: false, ..package }, wanted: Wanted::Told(plugin.clone()) }
}

fn with_modules(seen: Seen, found: Option<&Found>) -> CaddyPackage {
    let Some(found) = found else { return seen.package };
    let repo = format!("https://{}", found.module);
    let path = seen.package.path.clone();
    let is_of_it = |package: &str| {
        package.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let ours = found.registered.iter().filter(|one| is_of_it(&one.package));
    let modules = ours.filter_map(|one| {
        let name = one.id.clone()?;
        Some(CaddyModule { name, docs: one.docs.clone(), package: one.package.clone(), repo: repo.clone() })
    });
    CaddyPackage { available: true, modules: modules.collect(), repo: repo.clone(), ..seen.package }
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
