//! The internet in small: an HTTP server on loopback whose files a test sets.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What a path answers.
type Files = Arc<Mutex<HashMap<String, (u16, Vec<u8>)>>>;

/// A server of files on a free port of 127.0.0.1. It ends with the test's process.
#[derive(Debug)]
pub struct FileServer {
    address: SocketAddr,
    files: Files,
}

impl FileServer {
    /// Starts a server without files: every path answers 404.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Self { address: listener.local_addr()?, files: Files::default() };
        let files = Arc::clone(&server.files);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A visitor that breaks off is no concern of the others.
                drop(answer(stream, &files));
            }
        });
        Ok(server)
    }

    /// Where it listens; a platform must be allowed to fetch from here.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a file there and returns its URL.
    #[must_use]
    pub fn put(&self, path: &str, content: &str) -> String {
        self.put_status(path, 200, content)
    }

    /// Puts an answer of any status there and returns its URL.
    #[must_use]
    pub fn put_status(&self, path: &str, status: u16, content: &str) -> String {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(path.to_owned(), (status, content.as_bytes().to_vec()));
        format!("http://{}{path}", self.address)
    }
}

fn answer(mut stream: TcpStream, files: &Files) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let (status, content) = found.unwrap_or_else(|| (404, b"no such file".to_vec()));
    write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len())?;
    stream.write_all(&content)
}
