//! Connections that want nothing but the room that they take.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// So many, until it is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    _connections: Vec<UnixStream>,
}

impl Crowd {
    /// Opens sessions until there are so many, or no more.
    pub(super) async fn gather(folder: &Path, most: usize) -> Self {
        let mut connections = Vec::new();
        while connections.len() < most {
            match session(folder).await {
                Some(connection) => connections.push(connection),
                None => break,
            }
        }
        Self { _connections: connections }
    }
}

/// One session, past its start; `None` when there is no room for it.
async fn session(folder: &Path) -> Option<UnixStream> {
    let mut connection = UnixStream::connect(folder.join(".s.PGSQL.5432")).await.ok()?;
    // Length, protocol 3.0, parameters: the start of every session.
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).ok()?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend(196_608_u32.to_be_bytes());
    message.extend(parameters);
    connection.write_all(&message).await.ok()?;
    let mut kind = [0];
    connection.read_exact(&mut kind).await.ok()?;
    // `R`: it is let in; `E`: there is no room.
    (kind == *b"R").then_some(connection)
}
