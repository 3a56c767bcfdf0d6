//! `/livez`, `/readyz` and `/metrics` of a process without the api, for whoever watches it.
//!
//! Nobody is asked who they are, so it is off unless `status.listen` says where, and tells
//! nothing of users: how it goes, and figures.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use shipway_api::{MetricsText, Readiness, ReadyCheck};
use shipway_stdx::shutdown::Shutdown;
use shipway_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at a time; a watcher has one.
const CONNECTIONS_MAX: usize = 32;
/// Longest one request may take, from connection to answer.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Between two tries to accept when there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What there is to tell.
#[derive(Clone)]
pub(super) struct Status {
    pub(super) store: Store,
    pub(super) checks: Arc<[ReadyCheck]>,
    pub(super) metrics: MetricsText,
}

/// Answers until told to stop.
pub(super) async fn start(
    address: SocketAddr,
    status: Status,
    mut shutdown: Shutdown,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address} (`status.listen`)"))?;
    tracing::info!(address = %listener.local_addr()?, "status is told");
    parts.spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut talks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                        let status = status.clone();
                        talks.spawn(async move {
                            drop(timeout(REQUEST_TIME, talk(stream, status)).await);
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a watcher");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = talks.join_next() => {}
                () = shutdown.requested() => return,
            }
        }
    });
    Ok(())
}

/// One request, one answer.
async fn talk(stream: TcpStream, status: Status) {
    let service = service_fn(move |request| {
        let status = status.clone();
        async move { Ok::<_, Infallible>(status.answer(&request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).keep_alive(false);
    // Who hangs up has seen enough.
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

impl Status {
    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready().await,
            "/metrics" => text(StatusCode::OK, (self.metrics)()),
            _ => text(StatusCode::NOT_FOUND, "there is /livez, /readyz and /metrics\n".to_owned()),
        }
    }

    async fn ready(&self) -> Response<String> {
        let found = Readiness::look(&self.store, &self.checks).await;
        let status = if found.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, found.lines(true) + found.verdict())
    }
}

fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
