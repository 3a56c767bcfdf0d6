//! Serving a router on a unix socket.
//!
//! The API listens on no TCP port of its own: visitors come through the proxy,
//! people on this machine through the admin socket.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use shipway_stdx::shutdown::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::TaskTracker;

use crate::peer::{Door, meet};

/// Longest a request's head may take to arrive.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// How long requests at work may go on after stopping was requested.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Wait after a failed accept (no descriptors left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes a unix socket at `path` with permissions `mode`, in place of a dead one.
///
/// # Errors
///
/// The path is taken by something else than a socket, or by a socket that
/// somebody answers on; or any error of the file system.
pub async fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is in the way: it is no socket", path.display()),
            ));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("somebody answers on {}", path.display())));
        }
        std::fs::remove_file(path)?;
    }
    // Its folder is ours alone, so nobody connects before the mode is set.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Serves `router` on `listener` until stopping is requested; then lets requests
/// at work finish, for five seconds at most.
pub async fn serve_unix(listener: UnixListener, door: Door, router: Router, mut shutdown: Shutdown) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (door, router, shutdown) = (door.clone(), router.clone(), shutdown.clone());
                connections.spawn(connection(stream, door, router, shutdown));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN_TIME, connections.wait()).await.is_err() {
        tracing::info!(open = connections.len(), "stopped with requests still at work");
    }
}

async fn connection(stream: UnixStream, door: Door, router: Router, mut shutdown: Shutdown) {
    let peer = match meet(&door, &stream).await {
        Ok(Some(peer)) => peer,
        Ok(None) => {
            tracing::warn!("a user who is not the proxy's knocked at its door");
            return;
        }
        Err(error) => {
            tracing::debug!(%error, "a connection ended before it said who it was");
            return;
        }
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(100)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.requested() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
