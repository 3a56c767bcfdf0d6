//! The connection of a feed to its proxy: one that writes, one that reads, and a
//! queue of what is expected between them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shipway_stdx::backoff::Backoff;
use shipway_stdx::shutdown::Shutdown;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Peer, Question, Shared};
use crate::descriptors::{self, Lines};
use crate::wire::{Answer, Ask, LINE_BYTES_MAX, SNAPSHOT_PART, VERSION};

/// Longest wait for any answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Between two attempts to connect. Short: a proxy comes back in milliseconds.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(1) };

/// Talks to the proxy on behalf of a [`FeedClient`](super::FeedClient).
#[derive(Debug)]
pub struct FeedTask {
    pub(super) socket: PathBuf,
    pub(super) instance: String,
    pub(super) shared: Arc<Shared>,
    pub(super) asked: mpsc::Receiver<Question>,
    pub(super) reached: watch::Sender<u64>,
}

/// What the next answer is about.
enum Expected {
    Applied,
    Question(oneshot::Sender<(Answer, Vec<OwnedFd>)>),
}

type Queue = Mutex<VecDeque<Expected>>;

impl FeedTask {
    /// Talks until told to stop, through any number of connections.
    pub async fn run(mut self, mut shutdown: Shutdown) {
        tokio::select! {
            () = self.keep_talking() => {}
            () = shutdown.requested() => {}
        }
        self.shared.peer.send_replace(None);
    }

    async fn keep_talking(&mut self) {
        let mut failures = 0;
        loop {
            match self.connect().await {
                Ok((stream, lines, peer)) => {
                    failures = 0;
                    self.shared.peer.send_replace(Some(peer));
                    let ended = self.talk(&stream, lines).await;
                    self.shared.peer.send_replace(None);
                    // The next proxy has not been told anything yet.
                    self.reached.send_replace(0);
                    tracing::warn!(reason = %end(ended), "lost the connection to the proxy");
                }
                Err(error) => tracing::debug!(%error, "the proxy cannot be reached"),
            }
            // Questions of before are not for the next proxy.
            while self.asked.try_recv().is_ok() {}
            failures += 1;
            tokio::time::sleep(BACKOFF.wait_after(failures)).await;
        }
    }

    async fn connect(&self) -> io::Result<(UnixStream, Lines, Peer)> {
        let stream = UnixStream::connect(&self.socket).await?;
        let mut lines = Lines::default();
        let instance = self.instance.clone();
        send(&stream, &Ask::Hello { version: VERSION, instance }).await?;
        let hello = tokio::time::timeout(ANSWER_TIME, lines.next(&stream, LINE_BYTES_MAX)).await??;
        let hello = hello.ok_or(io::ErrorKind::UnexpectedEof)?;
        match serde_json::from_slice(&hello)? {
            Answer::Hello { pid, routes, settings, .. } => {
                tracing::info!(pid, routes, "connected to the proxy");
                Ok((stream, lines, Peer { pid, settings }))
            }
            Answer::Refused { reason } => Err(io::Error::other(reason)),
            _ => Err(io::Error::other("not a greeting")),
        }
    }

    async fn talk(&mut self, stream: &UnixStream, lines: Lines) -> io::Result<()> {
        let queue = Queue::default();
        let Self { shared, asked, reached, .. } = self;
        let speak = speak(stream, shared, asked, &queue);
        let listen = listen(stream, lines, reached, &queue);
        // Both at once: who only wrote could wait for ever for one who only writes.
        tokio::select! {
            ended = speak => ended,
            ended = listen => ended,
        }
    }
}

fn end(ended: io::Result<()>) -> String {
    ended.map_or_else(|error| error.to_string(), |()| "it hung up".to_owned())
}

async fn send(stream: &UnixStream, ask: &Ask) -> io::Result<()> {
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    descriptors::send_all(stream, &line, &[]).await
}

fn expect(queue: &Queue, expected: Expected) {
    queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(expected);
}

async fn speak(
    stream: &UnixStream,
    shared: &Shared,
    asked: &mut mpsc::Receiver<Question>,
    queue: &Queue,
) -> io::Result<()> {
    let mut told = None;
    loop {
        told = match told {
            None => tell_all(stream, shared, queue).await?,
            Some(before) => Some(tell_changes(stream, shared, queue, before).await?),
        };
        tokio::select! {
            () = shared.changed.notified() => {}
            question = asked.recv() => match question {
                Some(Question { ask, answer }) => {
                    expect(queue, Expected::Question(answer));
                    send(stream, &ask).await?;
                }
                // Every client is gone: so are the routes' owners.
                None => return Ok(()),
            }
        }
    }
}

/// Sends every route, once there is a list to send. Returns its generation.
async fn tell_all(stream: &UnixStream, shared: &Shared, queue: &Queue) -> io::Result<Option<u64>> {
    let (version, routes) = {
        let mut wanted = shared.wanted();
        if !wanted.is_published {
            return Ok(None);
        }
        wanted.changed.clear();
        let routes: Vec<_> = wanted.routes.values().cloned().collect();
        (wanted.generation, routes)
    };
    expect(queue, Expected::Applied);
    let mut parts = routes.chunks(SNAPSHOT_PART).peekable();
    loop {
        let part = parts.next().unwrap_or_default();
        let routes = part.iter().map(|route| (**route).clone()).collect();
        let more = parts.peek().is_some();
        send(stream, &Ask::Snapshot { version, routes, more }).await?;
        if !more {
            return Ok(Some(version));
        }
    }
}

/// Sends what changed since the last time. Only the last message of a round
/// carries the round's generation: before it the round is not complete. Returns
/// the generation told now.
async fn tell_changes(stream: &UnixStream, shared: &Shared, queue: &Queue, before: u64) -> io::Result<u64> {
    let (generation, mut asks) = {
        let mut wanted = shared.wanted();
        if wanted.generation == before {
            return Ok(before);
        }
        let changed = std::mem::take(&mut wanted.changed);
        let asks: Vec<Ask> = changed
            .into_iter()
            .map(|service_id| match wanted.routes.get(&service_id) {
                Some(route) => Ask::Upsert { version: 0, route: (**route).clone() },
                None => Ask::Remove { version: 0, service_id },
            })
            .collect();
        (wanted.generation, asks)
    };
    // Names go before they come: one service may take over another's label.
    asks.sort_by_key(|ask| matches!(ask, Ask::Upsert { .. }));
    if asks.is_empty() {
        // Nothing differs, but whoever made this generation waits to hear of it.
        asks.push(Ask::Remove { version: 0, service_id: String::new() });
    }
    if let Some(Ask::Upsert { version, .. } | Ask::Remove { version, .. }) = asks.last_mut() {
        *version = generation;
    }
    for ask in asks {
        expect(queue, Expected::Applied);
        send(stream, &ask).await?;
    }
    Ok(generation)
}

async fn listen(stream: &UnixStream, mut lines: Lines, reached: &watch::Sender<u64>, queue: &Queue) -> io::Result<()> {
    while let Some(line) = lines.next(stream, LINE_BYTES_MAX).await? {
        let answer: Answer = serde_json::from_slice(&line)?;
        if let Answer::Refused { reason } = answer {
            return Err(io::Error::other(reason));
        }
        let expected = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match (expected, answer) {
            (Some(Expected::Applied), Answer::Applied { version }) => {
                reached.send_if_modified(|reached| {
                    let is_later = version > *reached;
                    *reached = version.max(*reached);
                    is_later
                });
            }
            (Some(Expected::Question(asker)), answer) => {
                // Whoever asked may have given up waiting.
                drop(asker.send((answer, lines.take_fds())));
            }
            _ => return Err(io::Error::other("an answer nobody asked for")),
        }
    }
    Ok(())
}
