//! A service whose answers take long, for the tests: runs as a command in an image.
//!
//! ```text
//! long_lived PORT [h2c]
//!   GET  /events?silence=MS   two events with a silence between them
//!   GET  /download?bytes=N    so many bytes
//!   POST /upload              how many bytes came
//!   POST anything else        what comes goes back as it comes, then trailers: a call both ways
//!   Upgrade                   what comes goes back
//!   GET  anything else        the value of NAME
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

const CHUNK: usize = 64 * 1024;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8000);
    let is_h2c = std::env::args().nth(2).as_deref() == Some("h2c");
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await?;
    // The first process of a container ends by a signal only if it listens to it.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(serve(accepted?.0, is_h2c))),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

async fn serve(socket: TcpStream, is_h2c: bool) {
    drop(socket.set_nodelay(true));
    let io = TokioIo::new(socket);
    // A visitor that leaves is none of our business.
    if is_h2c {
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(answer)).await);
    } else {
        let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service_fn(answer));
        drop(serving.with_upgrades().await);
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    if request.headers().contains_key(header::UPGRADE) {
        tokio::spawn(echo(hyper::upgrade::on(&mut request)));
        let mut response = Response::new(full(""));
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("echo"));
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
        return Ok(response);
    }
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/events") => events(Duration::from_millis(number(&request))),
        (&Method::GET, "/download") => download(number(&request)),
        (&Method::POST, "/upload") => Response::new(full(count(request.into_body()).await.to_string())),
        (&Method::POST, _) => with_type("application/grpc", Response::new(Echo(request.into_body(), false).boxed())),
        _ => Response::new(full(name())),
    })
}

#[expect(clippy::disallowed_methods, reason = "a service's settings are its environment")]
fn name() -> String {
    std::env::var("NAME").unwrap_or_default()
}

async fn echo(upgrading: hyper::upgrade::OnUpgrade) {
    if let Ok(upgraded) = upgrading.await {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        drop(tokio::io::copy(&mut read, &mut write).await);
        drop(tokio::io::AsyncWriteExt::shutdown(&mut write).await);
    }
}

/// What follows the first `=` of the query.
fn number(request: &Request<Incoming>) -> u64 {
    let value = request.uri().query().and_then(|query| query.split_once('='));
    value.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, hyper::Error> {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

fn with_type(kind: &'static str, mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

fn streamed(pieces: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Answer {
    Response::new(BoxBody::new(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece))))))
}

fn events(silence: Duration) -> Answer {
    let first = stream::once(async { Bytes::from_static(b"data: first\n\n") });
    let second = stream::once(async move {
        tokio::time::sleep(silence).await;
        Bytes::from_static(b"data: second\n\n")
    });
    with_type("text/event-stream", streamed(first.chain(second)))
}

fn download(bytes: u64) -> Answer {
    let chunk = Bytes::from(vec![b'd'; CHUNK]);
    let pieces = stream::unfold(bytes, move |left| {
        let here = left.min(CHUNK as u64);
        let piece = chunk.slice(..usize::try_from(here).unwrap_or_default());
        async move { (here > 0).then_some((piece, left - here)) }
    });
    let mut answer = streamed(pieces);
    answer.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    answer
}

async fn count(mut body: Incoming) -> usize {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}

/// What comes, as it comes; then a status in trailers.
struct Echo(Incoming, bool);

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self(body, is_over) = self.get_mut();
        if *is_over {
            return Poll::Ready(None);
        }
        Pin::new(body).poll_frame(cx).map(|frame| {
            Some(frame.unwrap_or_else(|| {
                *is_over = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", header::HeaderValue::from_static("0"));
                Ok(Frame::trailers(trailers))
            }))
        })
    }
}
