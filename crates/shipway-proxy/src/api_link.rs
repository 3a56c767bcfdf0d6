//! A visitor's own connections to the API.
//!
//! The API decides by who its peer is, and asks the kernel about the visitor's
//! socket itself. So each connection to it begins with a duplicate of that
//! socket, and never carries another visitor's requests.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::descriptors;
use crate::upstream::{ConnectError, Sender, handshake, open_unix};
use crate::wire::API_GREETING;

/// Most unused connections kept for one visitor; HTTP/2 may want several.
const IDLE_MAX: usize = 4;

/// One visitor's way to the API.
#[derive(Debug)]
pub(crate) struct ApiLink {
    socket: PathBuf,
    visitor: Arc<OwnedWriteHalf>,
    unused: Mutex<Vec<Sender>>,
}

impl ApiLink {
    /// `socket` is the API's; nothing is connected before it is needed.
    pub(crate) const fn new(socket: PathBuf, visitor: Arc<OwnedWriteHalf>) -> Self {
        Self { socket, visitor, unused: Mutex::new(Vec::new()) }
    }

    /// Takes an unused connection.
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = unused.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection for this visitor's next request.
    pub(crate) fn put(&self, sender: Sender) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        if unused.len() < IDLE_MAX && !sender.is_closed() {
            unused.push(sender);
        }
    }

    /// Opens a new connection and shows the visitor's socket on it.
    pub(crate) async fn connect(&self) -> Result<Sender, ConnectError> {
        let api = open_unix(&self.socket).await?;
        self.greet(&api).await?;
        handshake(api.into()).await
    }

    async fn greet(&self, api: &tokio::net::UnixStream) -> io::Result<()> {
        let visitor: &TcpStream = (*self.visitor).as_ref();
        descriptors::send_all(api, &[API_GREETING], &[visitor.as_fd()]).await
    }
}
