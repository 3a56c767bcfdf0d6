//! Signature and binary in one body, as the Caddy build server sent what was signed. Only for
//! those who ask for it by name: the `caddy` command would write it over itself.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, header};
use shipway_model::{Artifact, Build, Document};

use crate::app::App;
use crate::builds::download;
use crate::flow::accepts;
use crate::reply::Reject;

/// Whether the client asks for it.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    accepts(headers, "multipart/form-data")
}

/// The part `signature`, then the part `artifact`; the plain binary when it has no signature of
/// the old kind.
pub(super) async fn respond(
    app: &App,
    build: &Build,
    artifact: &Artifact,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Reject> {
    let Some(signature) = app.parts.store.find_document(build.id, Document::Asc).await? else {
        return download::respond(app, build, artifact, method, headers).await;
    };
    let boundary = uuid::Uuid::new_v4().as_simple().to_string();
    let part = |name: &str, file: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
    };
    let first = part("signature", &format!("{}.asc", artifact.file_name));
    let before = format!("{first}{signature}\r\n{}", part("artifact", &artifact.file_name));
    let after = format!("\r\n--{boundary}--\r\n");
    let length = before.len() as u64 + artifact.size_bytes + after.len() as u64;
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => {
            let bytes = download::open(app, build, artifact, 0..artifact.size_bytes).await?.into_data_stream();
            let around = |text: String| stream::iter([Ok(Bytes::from(text))]);
            Body::from_stream(around(before).chain(bytes).chain(around(after)))
        }
    };
    let mut response = body.into_response();
    let media = format!("multipart/form-data; boundary={boundary}");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&media).map_err(Reject::internal)?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}
