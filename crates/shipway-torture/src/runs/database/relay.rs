//! Stands between a server and its clients, on 127.0.0.1, and can freeze a connection:
//! it stays open on both sides, and nothing comes through any more. That is what a
//! firewall does that has forgotten it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Read at once.
const CHUNK: usize = 16 * 1024;

/// A relay; dropping it ends all its connections.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    /// Grows with every freeze.
    freezes: watch::Sender<u64>,
    frozen: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Begins to relay to the server whose socket is in this folder.
    pub(super) async fn before(folder: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let freezes = watch::Sender::new(0);
        let frozen = Arc::new(AtomicUsize::new(0));
        let server = folder.join(".s.PGSQL.5432");
        let accepting = tokio::spawn(accept(listener, server, freezes.clone(), Arc::clone(&frozen)));
        Ok(Self { address, freezes, frozen, accepting })
    }

    /// What `DATABASE_URL` is for this database, through the relay.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Freezes the connections that listen now.
    pub(super) fn freeze_listeners(&self) {
        self.freezes.send_modify(|times| *times += 1);
    }

    /// How many have been.
    pub(super) fn frozen(&self) -> usize {
        self.frozen.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: PathBuf, freezes: watch::Sender<u64>, frozen: Arc<AtomicUsize>) {
    let mut open = tokio::task::JoinSet::new();
    while let Ok((client, _peer)) = listener.accept().await {
        while open.try_join_next().is_some() {}
        if let Ok(server) = UnixStream::connect(&server).await {
            open.spawn(relay(client, server, freezes.subscribe(), Arc::clone(&frozen)));
        }
    }
}

/// Copies both ways, until either end closes; once it listens and is frozen, it only waits
/// for the client's end.
async fn relay(
    mut client: TcpStream,
    mut server: UnixStream,
    mut freezes: watch::Receiver<u64>,
    frozen: Arc<AtomicUsize>,
) {
    let (mut from_client, mut from_server) = (vec![0; CHUNK], vec![0; CHUNK]);
    let listens = AtomicBool::new(false);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &from_client[..length];
                if bytes.windows(6).any(|word| word == b"LISTEN") {
                    listens.store(true, Ordering::Relaxed);
                    freezes.mark_unchanged();
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&from_server[..length]).await.is_err() {
                    return;
                }
            }
            changed = freezes.changed(), if listens.load(Ordering::Relaxed) => {
                if changed.is_ok() {
                    frozen.fetch_add(1, Ordering::Relaxed);
                    return hold(client, server).await;
                }
                return;
            }
        }
    }
}

/// Keeps both ends open, swallows what the client says, and says nothing.
async fn hold(mut client: TcpStream, server: UnixStream) {
    let mut nothing = vec![0; CHUNK];
    while let Ok(1..) = client.read(&mut nothing).await {}
    drop(server);
}
