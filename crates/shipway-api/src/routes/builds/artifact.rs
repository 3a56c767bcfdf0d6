//! What a build made, and what belongs to it: signatures, checksum, provenance, the list of its
//! modules, each at its own URL; and the public keys.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use shipway_api_types::{ProblemCode, SigningKeys};
use shipway_artifacts::sign;
use shipway_model::{Artifact, Build, BuildState, Document};

use super::{BUILD, find};
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::builds::trouble::without_artifact;
use crate::builds::{download, parts};
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::reply::{ErrorStyle, Reject};

/// The one document that is not kept: it is made of the digest.
const CHECKSUM: &str = "sha256";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&BYTES, bytes), Endpoint::new(&DOCUMENT, document), Endpoint::new(&KEYS, keys)]
}

static BYTES: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/builds/{build}/artifact",
    access: Access::Needs(Action::Read),
    pace: Pace::Downloads,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "get_artifact",
        tag: "builds",
        summary: "Fetch what a build made",
        description: "Ranges and conditions as RFC 9110 has them; `ETag` is the digest. No byte is sent that was not \
            compared with it: what cannot be had breaks the transfer off.",
        parameters: &[BUILD],
        request: None,
        answers: &[
            Answer { status: 200, doc: "The bytes.", content: Some(Content::plain(&["application/octet-stream"])) },
            Answer { status: 206, doc: "Some of them.", content: Some(Content::plain(&["application/octet-stream"])) },
        ],
        problems: &[
            ProblemCode::NotFound,
            ProblemCode::Conflict,
            ProblemCode::CompileFailed,
            ProblemCode::StorageUnavailable,
            ProblemCode::BuildsUnavailable,
        ],
    },
};

static DOCUMENT: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/builds/{build}/artifact/{document}",
    access: Access::Needs(Action::Read),
    pace: Pace::Quick,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "get_artifact_document",
        tag: "builds",
        summary: "Fetch a signature, the checksum, the provenance or the list of modules",
        description: "`minisig` (for `minisign -V`), `asc` (for `gpg --verify`, when a keyring is configured), `sha256` \
            (for `sha256sum -c`), `provenance` (in-toto, SLSA), `sbom` (CycloneDX).",
        parameters: &[BUILD, Parameter::path("document", "`minisig`, `asc`, `sha256`, `provenance` or `sbom`.")],
        request: None,
        answers: &[Answer {
            status: 200,
            doc: "The document.",
            content: Some(Content::plain(&["text/plain", "application/json"])),
        }],
        problems: &[ProblemCode::NotFound, ProblemCode::Conflict, ProblemCode::BuildsUnavailable],
    },
};

static KEYS: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/keys",
    access: Access::Public,
    pace: Pace::Instant,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "get_keys",
        tag: "builds",
        summary: "The public keys that artifacts are signed with",
        description: "",
        parameters: &[],
        request: None,
        answers: &[Answer { status: 200, doc: "The keys.", content: Some(Content::json("SigningKeys")) }],
        problems: &[ProblemCode::BuildsUnavailable],
    },
};

/// What a build made, or why it has made nothing.
fn made(build: &Build) -> Result<&Artifact, Reject> {
    match &build.state {
        BuildState::Success(artifact) => Ok(artifact),
        _ => Err(without_artifact(build)),
    }
}

async fn bytes(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Read, &id).await?;
    download::respond(&app, &build, made(&build)?, &method, &headers).await
}

async fn document(
    State(app): State<App>,
    caller: Caller,
    InPath((id, word)): InPath<(String, String)>,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Read, &id).await?;
    let artifact = made(&build)?;
    let (text, media, suffix) = if word == CHECKSUM {
        let text = sign::checksum(&artifact.digest, &artifact.file_name).map_err(Reject::internal)?;
        (text, "text/plain; charset=utf-8", "sha256")
    } else {
        let document = Document::of_word(&word).ok_or_else(|| Reject::not_found("document"))?;
        let text = app.parts.store.find_document(build.id, document).await?;
        let text = text.ok_or_else(|| Reject::not_found("document of this artifact"))?;
        (text, media(document), suffix(document))
    };
    let name = download::disposition(&format!("{}.{suffix}", artifact.file_name));
    let name = HeaderValue::from_str(&name).map_err(Reject::internal)?;
    let media = HeaderValue::from_static(media);
    Ok(([(header::CONTENT_TYPE, media), (header::CONTENT_DISPOSITION, name)], text).into_response())
}

const fn media(document: Document) -> &'static str {
    match document {
        Document::Minisig => "text/plain; charset=utf-8",
        Document::Asc => "application/pgp-signature",
        Document::Provenance => "application/vnd.in-toto+json",
        Document::Sbom => "application/vnd.cyclonedx+json",
    }
}

const fn suffix(document: Document) -> &'static str {
    match document {
        Document::Minisig => "minisig",
        Document::Asc => "asc",
        Document::Provenance => "provenance.json",
        Document::Sbom => "sbom.json",
    }
}

async fn keys(State(app): State<App>) -> Result<Response, Reject> {
    let keys = &parts(&app)?.keys;
    let shown = SigningKeys { minisign: keys.minisign.clone(), openpgp: keys.openpgp.clone() };
    Ok(Json(shown).into_response())
}
