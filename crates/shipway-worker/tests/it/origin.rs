//! An origin on loopback: a few lines of HTTP whose answer can be changed.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Serves one answer to every request until dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: std::net::SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    _server: JoinSet<()>,
}

impl Origin {
    pub(crate) async fn new(content: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((200, content.to_owned())));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&answer)));
        Self { address, answer, _server: server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hello.sh", self.address)
    }

    pub(crate) fn answer(&self, status: u16, content: &str) {
        *self.answer.lock().unwrap() = (status, content.to_owned());
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<(u16, String)>>) {
    while let Ok((mut connection, _peer)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(connection.read_buf(&mut head).await, Ok(1..)) {
                break;
            }
        }
        let (status, body) = answer.lock().unwrap().clone();
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/x-test\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        // The fetcher may have hung up on an answer it refuses.
        drop(connection.write_all(text.as_bytes()).await);
    }
}
