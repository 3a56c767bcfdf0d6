//! A module proxy that speaks HTTP and misbehaves as told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How one path is answered.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status and a body.
    Is(u16, Vec<u8>),
    /// These very bytes, head and all.
    Raw(Vec<u8>),
    /// A redirect to there.
    To(String),
    /// A 200 whose body never ends.
    Endless,
    /// A 200 whose body stops in the middle and stays open.
    Stalls,
    /// A 200 whose body is cut off.
    Cut,
    /// Nothing at all.
    Silent,
}

/// A server; gone when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self._task.abort();
    }
}

impl Server {
    /// Answers these paths so, and `otherwise` all else.
    pub(crate) async fn start(answers: &[(&str, Answer)], otherwise: Answer) -> Self {
        let answers: BTreeMap<String, Answer> =
            answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, answers.clone(), otherwise.clone(), Arc::clone(&log)));
            }
        });
        Self { address, asked, _task: task }
    }

    /// Its address as a proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    answers: BTreeMap<String, Answer>,
    otherwise: Answer,
    log: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1)?.to_owned();
    log.lock().unwrap().push(head);
    let begin = |length: usize| format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    match answers.get(&path).cloned().unwrap_or(otherwise) {
        Answer::Is(status, body) => {
            let head = format!("HTTP/1.1 {status} So\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
        Answer::Raw(bytes) => stream.write_all(&bytes).await.ok()?,
        Answer::To(location) => {
            let head =
                format!("HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.ok()?;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
        Answer::Stalls => {
            stream.write_all(begin(100).as_bytes()).await.ok()?;
            stream.write_all(b"{").await.ok()?;
            std::future::pending::<()>().await;
        }
        Answer::Cut => {
            stream.write_all(begin(100).as_bytes()).await.ok()?;
            stream.write_all(b"{").await.ok()?;
        }
        Answer::Silent => std::future::pending::<()>().await,
    }
    Some(())
}
