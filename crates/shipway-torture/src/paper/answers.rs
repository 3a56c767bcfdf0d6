//! What the containers of a world answer: that they are ready, whatever is asked.

use std::io;
use std::path::Path;

use shipway_stdx::fs::remove_if_there;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::PaperWorld;

/// Longest request head that is read.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Answers for all containers of one world, until it is dropped.
#[derive(Debug)]
pub struct Answers(JoinHandle<()>);

impl Answers {
    /// Begins to answer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn of(world: &PaperWorld) -> io::Result<Self> {
        let path = world.socket();
        remove_if_there(&path)?;
        Self::at(&path)
    }

    fn at(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        Ok(Self(tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((connection, _peer)) = listener.accept().await {
                while open.try_join_next().is_some() {}
                open.spawn(converse(connection));
            }
        })))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn converse(mut connection: UnixStream) {
    let mut read = Vec::new();
    loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            read.drain(..at + 4);
            if connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                return;
            }
        } else if read.len() > HEAD_BYTES_MAX || !matches!(connection.read_buf(&mut read).await, Ok(1..)) {
            return;
        }
    }
}
