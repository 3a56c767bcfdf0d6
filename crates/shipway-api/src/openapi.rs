//! The OpenAPI 3.1 document, made from the table of routes.
//!
//! Shapes come from their Rust types (utoipa); paths, parameters and answers from
//! the same rows that make the router, so that nothing served is left out and
//! nothing left out is served.

use serde_json::{Map, Value, json};
use shipway_api_types as api;
use shipway_api_types::ProblemCode;
use shipway_api_types::problem::PROBLEM_JSON;
use utoipa::OpenApi;

use crate::access::Access;
use crate::endpoint::{Content, Form, Pace, Parameter, Place, Rules, Verb};
use crate::reply::ErrorStyle;
use crate::routes::{self, CaddyBuild, CaddyBuildAnswer, CaddyBuildState, CaddyPackages, UrlDeploy, UrlDeployed};

/// The shapes. A page of each kind gets a name of its own.
#[derive(OpenApi)]
#[openapi(components(schemas(
    api::Page<api::Service>,
    api::Page<api::Release>,
    api::Page<api::Event>,
    api::Page<api::Token>,
    api::Page<api::Image>,
    api::Page<api::Task>,
    api::Page<api::Worker>,
    api::Task,
    api::TaskDetail,
    api::Worker,
    api::Image,
    api::Page<api::Build>,
    api::Build,
    api::BuildCreate,
    api::BuildLine,
    api::SigningKeys,
    api::ImageImported,
    api::ImageBootstrap,
    api::Service,
    api::ServiceWorker,
    api::ServicePut,
    api::Rollback,
    api::Upload,
    api::Release,
    api::ReleaseDiff,
    api::Event,
    api::LogLine,
    api::Stats,
    api::ExecClient,
    api::ExecServer,
    api::Token,
    api::TokenCreate,
    api::NewToken,
    api::Problem,
    ProblemCode,
    UrlDeploy,
    UrlDeployed,
    CaddyBuild,
    CaddyBuildAnswer,
    CaddyBuildState,
    CaddyPackages,
    Health,
)))]
struct Shapes;

/// What `/health` says: the words of three older systems at once.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its shape is used")]
struct Health {
    /// `healthy` or `unhealthy`.
    status: String,
    /// Always `docker-image-builder`.
    service: String,
    /// Whether all is well.
    success: bool,
    /// For people.
    message: String,
    /// What is not.
    error: Option<String>,
    /// The same, once more.
    data: HealthData,
}

/// Inside of [`Health`].
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its shape is used")]
struct HealthData {
    /// `healthy` or `unhealthy`.
    status: String,
    /// Of Shipway.
    version: String,
    /// As `1h30m45s`.
    uptime: String,
}

const DESCRIPTION: &str = "Shipway turns what you have into something that runs.\n\n\
    Errors are `application/problem+json` (RFC 9457) with a stable `code`; the codes are listed under \
    `ProblemCode`. Lists come in pages: give `next` as `cursor`. Changes wait until they are done, as long \
    as `wait` says. Times are RFC 3339 in UTC.";

/// Makes the document.
pub(crate) fn document(version: &str) -> Value {
    let shapes = serde_json::to_value(Shapes::openapi()).unwrap_or_default();
    let mut components = shapes["components"].clone();
    components["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "`shipway token create` makes one. On this machine root may use the admin socket without one.",
        },
    });
    let endpoints = routes::native().into_iter().chain(routes::contracts());
    let mut paths = Map::new();
    for endpoint in endpoints {
        let rules = endpoint.rules;
        let path = paths.entry(rules.path).or_insert_with(|| json!({}));
        path[rules.verb.word()] = operation(rules);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Shipway",
            "version": version,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": components,
    })
}

fn operation(rules: &Rules) -> Value {
    let doc = &rules.doc;
    let mut operation = json!({
        "operationId": doc.id,
        "tags": [doc.tag],
        "summary": doc.summary,
    });
    if !doc.description.is_empty() {
        operation["description"] = json!(doc.description);
    }
    if !doc.parameters.is_empty() {
        operation["parameters"] = doc.parameters.iter().map(parameter).collect();
    }
    if let Some(request) = &doc.request {
        operation["requestBody"] = json!({ "required": true, "content": content(request) });
    }
    operation["responses"] = responses(rules);
    operation["security"] = match rules.access {
        Access::Public => json!([]),
        Access::Needs(_) => json!([{ "token": [] }]),
    };
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": match parameter.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        },
        "required": parameter.place == Place::Path,
        "description": parameter.doc,
        "schema": match parameter.form {
            Form::Text => json!({ "type": "string" }),
            Form::Flag => json!({ "type": "boolean" }),
            Form::Integer { least, most } => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Form::OneOf(words) => json!({ "type": "string", "enum": words }),
        },
    })
}

fn content(content: &Content) -> Value {
    let schema = |media: &str| match content.schema {
        // A page has items; a stream of the same has them one by one.
        Some(name) if media != "application/json" => {
            json!({ "$ref": reference(name.trim_start_matches("Page_")) })
        }
        Some(name) => json!({ "$ref": reference(name) }),
        None if media == "application/json" => json!({ "type": "object" }),
        None if media == "application/octet-stream" => json!({}),
        None => json!({ "type": "string" }),
    };
    content
        .media
        .iter()
        .map(|media| ((*media).to_owned(), json!({ "schema": schema(media) })))
        .collect::<Map<_, _>>()
        .into()
}

fn reference(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}

fn responses(rules: &Rules) -> Value {
    let mut responses = Map::new();
    for answer in rules.doc.answers {
        let mut response = json!({ "description": answer.doc });
        if let Some(shape) = &answer.content {
            response["content"] = content(shape);
        }
        responses.insert(answer.status.to_string(), response);
    }
    let problems = problems(rules);
    let mut statuses: Vec<u16> = problems.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let codes = problems.iter().filter(|code| code.status() == status);
        responses.entry(status.to_string()).or_insert_with(|| problem(codes, rules.errors));
    }
    responses.into()
}

fn problem<'a>(codes: impl Iterator<Item = &'a ProblemCode>, style: ErrorStyle) -> Value {
    let told: Vec<String> = codes.map(|code| format!("`{}`: {}.", code.word(), code.title())).collect();
    let mut content = Map::new();
    match style {
        ErrorStyle::ProblemJson => None,
        ErrorStyle::BareCode => content.insert("text/plain".to_owned(), json!({ "schema": { "type": "string" } })),
        ErrorStyle::ErrorText | ErrorStyle::ErrorObject => {
            content.insert("application/json".to_owned(), json!({ "schema": { "type": "object" } }))
        }
    };
    let shape = json!({ "schema": { "$ref": reference("Problem") } });
    content.insert(PROBLEM_JSON.to_owned(), shape);
    json!({ "description": told.join(" "), "content": content })
}

/// The problems of a route: its own, and those of every route of its kind.
pub(crate) fn problems(rules: &Rules) -> Vec<ProblemCode> {
    let mut codes = rules.doc.problems.to_vec();
    codes.extend([ProblemCode::WrongHost, ProblemCode::Internal]);
    if rules.access != Access::Public {
        codes.extend([
            ProblemCode::Unauthorized,
            ProblemCode::Forbidden,
            ProblemCode::StoreUnavailable,
            ProblemCode::InvalidParameter,
        ]);
    }
    if rules.verb != Verb::Get {
        codes.push(ProblemCode::ForeignOrigin);
    }
    if rules.pace != Pace::Instant {
        codes.extend([ProblemCode::Overloaded, ProblemCode::Timeout]);
    }
    if let Some(Content { schema: Some(_), .. }) = rules.doc.request {
        codes.extend([ProblemCode::InvalidJson, ProblemCode::BodyTooLarge]);
        if rules.errors == ErrorStyle::ProblemJson {
            codes.extend([ProblemCode::InvalidField, ProblemCode::UnsupportedMediaType]);
        }
    }
    codes.sort_unstable_by_key(|code| (code.status(), code.word()));
    codes.dedup();
    codes
}

#[cfg(test)]
mod tests;
