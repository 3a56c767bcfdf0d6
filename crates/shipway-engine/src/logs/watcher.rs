//! Knowing at once when a log grows, for any number of followers.
//!
//! One inotify instance for the whole engine (a host allows 128 by default), one
//! watch per log that is followed, one channel per watch. A watch without followers
//! is removed when it next fires.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ready;

/// The channel of each watch, by its descriptor.
type Channels = Arc<Mutex<HashMap<i32, watch::Sender<u64>>>>;

/// Watches logs until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    inotify: Arc<AsyncFd<OwnedFd>>,
    channels: Channels,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Starts watching nothing. Must be called inside a tokio runtime.
    pub(crate) fn start() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = Arc::new(ready::register(inotify::init(flags)?, Interest::READABLE)?);
        let channels = Channels::default();
        let task = tokio::spawn(dispatch(Arc::clone(&inotify), Arc::clone(&channels)));
        Ok(Self { inotify, channels, task })
    }

    /// Returns a channel that changes whenever something in `folder` does.
    pub(crate) fn watch(&self, folder: &Path) -> io::Result<watch::Receiver<u64>> {
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::ONLYDIR;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: the task may not remove this watch in between.
        let watch = inotify::add_watch(self.inotify.get_ref(), folder, what)?;
        Ok(channels.entry(watch).or_default().subscribe())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn dispatch(inotify: Arc<AsyncFd<OwnedFd>>, channels: Channels) {
    while let Ok(mut ready) = inotify.readable().await {
        // An error would come back at once for ever; inotify has none but "later".
        match ready.try_io(|inotify| drain(inotify.get_ref(), &channels)) {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "watching logs ended; followers wait for the end of their containers");
                return;
            }
        }
    }
}

/// Reads events until there are none.
fn drain(inotify: &OwnedFd, channels: &Channels) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(inotify, &mut space);
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
        if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
            // Somebody's event was lost: everybody looks.
            channels.values().for_each(|channel| channel.send_modify(|n| *n += 1));
        } else if event.events().contains(inotify::ReadFlags::IGNORED) {
            channels.remove(&event.wd());
        } else if let Some(channel) = channels.get(&event.wd()) {
            channel.send_modify(|n| *n += 1);
            if channel.receiver_count() == 0 {
                channels.remove(&event.wd());
                if let Err(error) = inotify::remove_watch(inotify, event.wd()) {
                    tracing::trace!(%error, "gone already with its directory");
                }
            }
        }
    }
}
