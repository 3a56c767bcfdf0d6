//! The same question in HTTP/2, for a command that speaks nothing else.
//!
//! A path is asked for with GET, like any other. The path of gRPC's own health protocol
//! (`grpc.health.v1`) is called as what it is: ready is who says SERVING.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use shipway_model::ServiceId;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::dial::Connection;
use super::{LINE_CHARS_MAX, Seen};

/// What gRPC calls its health check.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A message of gRPC: not compressed, no bytes. It asks for the server as a whole.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The answer's message: five bytes of frame, and field 1 is 1 (SERVING).
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Most that is read of an answer's body.
const ANSWER_BYTES_MAX: usize = 1024;

/// How long what follows an answer's head is waited for.
const REST_WAIT: Duration = Duration::from_secs(2);

/// Asks for `path`; an error is what was seen instead of an answer, or of SERVING.
pub(super) async fn ask(connection: Box<dyn Connection>, service: ServiceId, path: &str) -> Result<Seen, String> {
    let broken = |error: h2::Error| format!("no HTTP/2 ({error})");
    let (sender, driver) = h2::client::handshake(connection).await.map_err(broken)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let (head, body, trailers) = converse(sender, service, path).await.map_err(broken)?;
    let status = head.status().as_u16();
    if path != GRPC_HEALTH || status != 200 {
        return Ok(Seen { status, line: String::new() });
    }
    let field =
        |name: &str| trailers.get(name).or_else(|| head.headers().get(name)).and_then(|value| value.to_str().ok());
    match field("grpc-status") {
        Some("0") if body == SERVING => Ok(Seen { status, line: String::new() }),
        Some("0") => Err("a server that says it is not serving".to_owned()),
        Some(code) => {
            let words: String = field("grpc-message").unwrap_or_default().chars().take(LINE_CHARS_MAX).collect();
            Err(format!("gRPC status {code}: {words}"))
        }
        None => Err("an answer without a gRPC status".to_owned()),
    }
}

type Answer = (Response<()>, Vec<u8>, HeaderMap);

async fn converse(sender: SendRequest<Bytes>, service: ServiceId, path: &str) -> Result<Answer, h2::Error> {
    let uri = format!("http://{service}{path}");
    let is_grpc = path == GRPC_HEALTH;
    let request = Request::builder().uri(uri).header("user-agent", "shipway-probe");
    let request = if is_grpc {
        request.method("POST").header("content-type", "application/grpc").header("te", "trailers")
    } else {
        request.header("accept", "*/*")
    };
    // A health path has been looked at: it is one of visible characters.
    let request = request.body(()).map_err(|_| h2::Error::from(h2::Reason::PROTOCOL_ERROR))?;
    let (response, mut send) = sender.ready().await?.send_request(request, !is_grpc)?;
    if is_grpc {
        send.send_data(Bytes::from_static(EMPTY_MESSAGE), true)?;
    }
    let (parts, mut body) = response.await?.into_parts();
    let mut answer = (Response::from_parts(parts, ()), Vec::new(), HeaderMap::new());
    if !is_grpc {
        return Ok(answer);
    }
    let rest = async {
        while let Some(chunk) = body.data().await {
            answer.1.extend_from_slice(&chunk?);
            if answer.1.len() > ANSWER_BYTES_MAX {
                return Ok(());
            }
        }
        answer.2 = body.trailers().await?.unwrap_or_default();
        Ok::<(), h2::Error>(())
    };
    // Without its rest the answer has no status, which is told.
    timeout(REST_WAIT, rest).await.unwrap_or(Ok(()))?;
    Ok(answer)
}
