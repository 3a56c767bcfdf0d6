//! Every living proxy as one: the one that takes visitors, and those before it that
//! still finish theirs.
//!
//! All of them go by the same routes, and an old container is stopped only when no
//! proxy has a request in it any more.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use shipway_proxy::feed::FeedError;
use shipway_proxy::{Endpoint, FeedClient, Route};
use shipway_stdx::shutdown::{self, Shutdown, ShutdownSender};
use tokio::task::AbortHandle;

/// A feed that somebody talks for. The talk ends when this is dropped, or when the
/// platform stops: the next one's is to be the only one.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) feed: FeedClient,
    socket: PathBuf,
    talk: AbortHandle,
    shutdown: Shutdown,
}

impl Connection {
    pub(crate) fn open(socket: PathBuf, instance: &str, shutdown: &Shutdown) -> Self {
        let (feed, task) = FeedClient::new(socket.clone(), instance.to_owned());
        let talk = tokio::spawn(task.run(shutdown.clone())).abort_handle();
        Self { feed, socket, talk, shutdown: shutdown.clone() }
    }

    /// Where the proxy answers.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until nobody answers at its socket any more.
    async fn gone(&self) {
        loop {
            self.feed.disconnected().await;
            if std::os::unix::net::UnixStream::connect(&self.socket).is_err() {
                return;
            }
            // The connection broke, not the proxy: the feed connects again by itself.
            drop(self.feed.connected(RECONNECT_LIMIT).await);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

/// How long a proxy that lives may be without its connection to us.
const RECONNECT_LIMIT: Duration = Duration::from_secs(5);

/// All living proxies. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    newest: Arc<Connection>,
    leaving: Arc<Mutex<Vec<Leaving>>>,
}

/// A proxy that takes nobody new.
#[derive(Debug, Clone)]
struct Leaving {
    feed: FeedClient,
    /// Requested when it is gone.
    gone: Shutdown,
}

impl Leaving {
    /// What `answer` says, or nothing when the proxy goes before it says it.
    async fn unless_gone<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut gone = self.gone.clone();
        tokio::select! {
            answer = answer => Some(answer),
            () = gone.requested() => None,
        }
    }
}

/// Routes as each proxy was told them.
#[derive(Debug)]
pub(crate) struct Published {
    newest: u64,
    leaving: Vec<(Leaving, u64)>,
}

impl Fleet {
    pub(crate) fn new(newest: Connection) -> Self {
        Self { newest: Arc::new(newest), leaving: Arc::default() }
    }

    /// The one that takes visitors.
    pub(crate) fn newest(&self) -> &FeedClient {
        &self.newest.feed
    }

    /// Tells a proxy to take nobody new and to exit within `limit`, and keeps its
    /// routes true until then.
    pub(crate) async fn dismiss(&self, proxy: Connection, limit: Duration) -> Result<(), FeedError> {
        proxy.feed.drain_and_exit(limit).await?;
        self.follow(proxy);
        Ok(())
    }

    /// Looks after a proxy that has been told to finish.
    pub(crate) fn follow(&self, proxy: Connection) {
        let (sender, gone) = shutdown::channel();
        self.leaving().push(Leaving { feed: proxy.feed.clone(), gone });
        let leaving = Arc::clone(&self.leaving);
        tokio::spawn(see_off(proxy, sender, leaving));
    }

    fn leaving(&self) -> std::sync::MutexGuard<'_, Vec<Leaving>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `routes` the whole list of every proxy.
    pub(crate) fn publish(&self, routes: Vec<Route>) -> Published {
        let leaving = self.leaving().clone();
        let leaving = leaving.into_iter().map(|proxy| {
            let generation = proxy.feed.publish(routes.iter().cloned());
            (proxy, generation)
        });
        let leaving = leaving.collect();
        Published { newest: self.newest().publish(routes), leaving }
    }

    /// Waits until every proxy goes by what was published.
    ///
    /// # Errors
    ///
    /// [`FeedError::Late`] after `limit`.
    pub(crate) async fn applied(&self, published: &Published, limit: Duration) -> Result<(), FeedError> {
        let leaving = published.leaving.iter().map(|(proxy, generation)| async move {
            proxy.unless_gone(proxy.feed.applied(*generation, limit)).await.unwrap_or(Ok(()))
        });
        let newest = self.newest().applied(published.newest, limit);
        let (newest, leaving) = tokio::join!(newest, join_all(leaving));
        leaving.into_iter().fold(newest, Result::and)
    }

    /// Waits until no proxy has a request in flight to `endpoint`, or for `limit`;
    /// returns whether it is idle.
    pub(crate) async fn wait_idle(&self, endpoint: &Endpoint, limit: Duration) -> bool {
        let leaving = self.leaving().clone();
        let leaving = leaving
            .iter()
            .map(|proxy| async move { proxy.unless_gone(proxy.feed.wait_idle(endpoint, limit)).await.unwrap_or(true) });
        let (newest, leaving) = tokio::join!(self.newest().wait_idle(endpoint, limit), join_all(leaving));
        newest && leaving.into_iter().all(|idle| idle)
    }
}

/// Takes note of a proxy's end. One that outlives the platform is the next one's.
async fn see_off(proxy: Connection, sender: ShutdownSender, leaving: Arc<Mutex<Vec<Leaving>>>) {
    let mut shutdown = proxy.shutdown.clone();
    tokio::select! {
        () = proxy.gone() => {}
        () = shutdown.requested() => return,
    }
    sender.request();
    leaving.lock().unwrap_or_else(PoisonError::into_inner).retain(|proxy| !proxy.gone.is_requested());
    remove(&proxy.socket);
    tracing::info!("a proxy of before has finished");
}

fn remove(socket: &Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::debug!(%error, "the socket of a proxy that is gone cannot be removed");
    }
}
