//! An S3 server, and what goes wrong between a client and it. Behind the feature `s3`.
//!
//! The server is `s3s-fs`, real as far as a client can tell: a bucket is a folder, requests are
//! signed and compared. It runs where it is asked to: in a process of a test's own, or in a task.

mod faults;

use std::io;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use faults::{Fault, Proxy, Seen};

/// Who may use it.
pub const ACCESS_KEY: &str = "AKSHIPWAYTEST";

/// How he proves it.
pub const SECRET_KEY: &str = "secret/of+a=test";

/// Serves the folders of `root` as buckets, until it is dropped.
///
/// # Errors
///
/// The folder cannot be used, or nobody can connect any more.
pub async fn serve(listener: TcpListener, root: &Path) -> io::Result<()> {
    let files = s3s_fs::FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while open.try_join_next().is_some() {}
        let service = service.clone();
        open.spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away in the middle is none of ours.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
