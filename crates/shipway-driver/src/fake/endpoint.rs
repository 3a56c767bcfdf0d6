//! A few lines of HTTP behind a real unix socket: enough for a probe and a visitor.

use std::path::Path;

use shipway_model::ContainerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Longest request head it reads; a longer one hangs up.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How a fake container answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answers {
    /// 204 to the runner's probe (`OPTIONS *`, `shipway-probe: ready`), 200 with the
    /// container's id to anything else.
    #[default]
    Ready,
    /// This status to everything, with this body.
    Status(u16, String),
    /// Takes connections and says nothing.
    Silent,
    /// Hangs up at once.
    HangUp,
}

/// Listens at `path` until aborted. Must be called inside a tokio runtime.
pub(super) fn serve(path: &Path, answers: watch::Receiver<Answers>, container: ContainerId) -> AbortHandle {
    let listener = UnixListener::bind(path).expect("the fake's own directory takes a socket");
    let server = tokio::spawn(async move {
        // Owned by this task, so that open connections end with the container.
        let mut open = tokio::task::JoinSet::new();
        while let Ok((connection, _peer)) = listener.accept().await {
            open.spawn(converse(connection, answers.clone(), container));
        }
    });
    server.abort_handle()
}

/// Answers one request after another; bodies of requests are not expected.
async fn converse(mut connection: UnixStream, answers: watch::Receiver<Answers>, container: ContainerId) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if read.len() > HEAD_BYTES_MAX || !matches!(connection.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        read.drain(..end);
        let now = answers.borrow().clone();
        let answer = match now {
            Answers::Ready if is_probe(&head) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            Answers::Ready => page(200, &container.to_string()),
            Answers::Status(status, body) => page(status, &body),
            Answers::Silent => std::future::pending().await,
            Answers::HangUp => return,
        };
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn is_probe(head: &str) -> bool {
    head.starts_with("options * ") && head.contains("\r\nshipway-probe: ready\r\n")
}

fn page(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Fake\r\ncontent-length: {length}\r\n\r\n{body}")
}
