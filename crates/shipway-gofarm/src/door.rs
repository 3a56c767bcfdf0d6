//! The door: all that the download phase of a build reaches.
//!
//! Inside, the go command finds a module proxy at a loopback address ([`ADDRESS`]), by plain
//! HTTP. Whoever listens there is this, outside: it reads a question of the protocol or
//! refuses to, asks the operator's proxies (TLS, credentials and `file://` are its business
//! and never seen inside), and passes the answer on as it comes. The checksum database is
//! reached the same way, through a proxy that passes it on or by this door itself; what it says
//! is signed, so neither need be trusted with it.
//!
//! ```text
//! go ──http──► 127.0.0.1 in the sandbox ══ socket ══► Door ──► Question? ──► Proxies ──https──►
//! ```
//!
//! Every question and what came of it is a line of the build's log. Bounded: questions,
//! bytes in all, connections, and by `ProxyLimits` each single one in bytes and time.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use shipway_gobuild::checksums::passed_on;
use shipway_gobuild::proxy::{Body, Failure, Proxies, ProxyError, Question, Resource};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Where the door is, in every sandbox.
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
/// `GOPROXY` inside.
pub const URL: &str = "http://127.0.0.1:4000";

/// Connections at a time. The go command uses up to ten.
const CONNECTIONS_MAX: usize = 32;
/// Longest a connection takes to say its request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries to let somebody in when that failed.
const STUCK_PAUSE: Duration = Duration::from_millis(100);
/// Lines that may wait to be told.
const LINES: usize = 256;

/// What one build may fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLimits {
    /// Questions. A large program asks some 2,000 from nothing.
    pub questions: u64,
    /// Bytes of all answers.
    pub bytes: u64,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self { questions: 20_000, bytes: 4 << 30 }
    }
}

/// Whom a door asks.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The operator's module proxies.
    pub proxies: Proxies,
    /// The checksum database itself, asked where none of the proxies passes it on.
    pub checksums: Option<Proxies>,
}

/// What went wrong at a door, the last of each kind, in words for the user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Troubles {
    /// A bound of the build's was reached.
    pub too_much: Option<String>,
    /// A proxy is away or in trouble.
    pub unavailable: Option<String>,
    /// A proxy answers nonsense.
    pub broken: Option<String>,
    /// A proxy refuses a module.
    pub refused: Option<String>,
}

/// What a build has used of its limits, over all its doors.
#[derive(Debug)]
pub struct Budget {
    limits: DoorLimits,
    questions: AtomicU64,
    bytes: AtomicU64,
}

impl Budget {
    /// Nothing used yet.
    #[must_use]
    pub fn new(limits: DoorLimits) -> Arc<Self> {
        Arc::new(Self { limits, questions: AtomicU64::new(0), bytes: AtomicU64::new(0) })
    }

    /// Questions and bytes so far.
    #[must_use]
    pub fn used(&self) -> (u64, u64) {
        (self.questions.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// An open door; dropped, it is shut, and what came through it is cut off.
#[derive(Debug)]
pub struct Door {
    /// What was asked for, and what came of it.
    pub lines: mpsc::Receiver<String>,
    hall: Arc<Hall>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Hall {
    upstream: Upstream,
    budget: Arc<Budget>,
    troubles: Mutex<Troubles>,
    lines: mpsc::Sender<String>,
}

impl Door {
    /// Serves whoever comes to `listener`.
    ///
    /// # Errors
    ///
    /// The socket cannot be used.
    pub fn open(listener: TcpListener, upstream: Upstream, budget: Arc<Budget>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (lines, lines_here) = mpsc::channel(LINES);
        let hall = Arc::new(Hall { upstream, budget, troubles: Mutex::default(), lines });
        let serving = tokio::spawn(serve(listener, Arc::clone(&hall)));
        Ok(Self { lines: lines_here, hall, serving })
    }

    /// What has gone wrong so far.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        self.hall.troubles().clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Ends all connections with itself.
async fn serve(listener: tokio::net::TcpListener, hall: Arc<Hall>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Those who find no place wait in the kernel's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // This process has no descriptor left, say: no fault of the build's.
                hall.troubles().unavailable = Some(format!("the door to the module proxies is stuck: {error}"));
                tokio::time::sleep(STUCK_PAUSE).await;
                continue;
            }
        };
        let hall = Arc::clone(&hall);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let hall = Arc::clone(&hall);
                async move { Ok::<_, Infallible>(hall.answer(request).await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            // Who has said all may stop listening for more only: a request is answered all the same.
            server.half_close(true);
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(16 << 10);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::trace!(%error, "a connection of a build's ended");
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Hall {
    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.refuse(request.uri().path(), StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD").await;
        }
        let uri = request.uri();
        let question = match (uri.authority(), uri.query()) {
            (None, None) => decoded(uri.path()).and_then(|path| Question::parse(&path)),
            _ => None,
        };
        let Some(question) = question else {
            return self.refuse(uri.path(), StatusCode::FORBIDDEN, "not of the module proxy protocol").await;
        };
        if self.budget.questions.fetch_add(1, Ordering::Relaxed) >= self.budget.limits.questions {
            let words = format!("a build may ask {} questions of the module proxies", self.budget.limits.questions);
            self.troubles().too_much = Some(words.clone());
            return self.refuse(question.path(), StatusCode::TOO_MANY_REQUESTS, &words).await;
        }
        let begun = Instant::now();
        let Upstream { proxies, checksums } = &self.upstream;
        let answer = match question.resource() {
            Resource::Checksums => passed_on(&question, proxies, checksums.as_ref()).await,
            _ => proxies.get(&question).await,
        };
        match answer {
            Ok(body) => self.pass_on(&question, body, begun, *request.method() == Method::HEAD).await,
            Err(error) => self.fail(&question, &error).await,
        }
    }

    async fn pass_on(self: Arc<Self>, question: &Question, body: Body, begun: Instant, is_head: bool) -> Answer {
        let size = body.size();
        let mut answer = Response::builder().header(CONTENT_TYPE, "application/octet-stream");
        if let Some(size) = size {
            answer = answer.header(CONTENT_LENGTH, size);
        }
        let passing = Passing { hall: self, asked: question.path().to_owned(), body, size, bytes: 0, begun };
        let content = if is_head || size == Some(0) {
            passing.tell().await;
            Full::default().map_err(|never: Infallible| match never {}).boxed()
        } else {
            StreamBody::new(stream::try_unfold(passing, Passing::next)).boxed()
        };
        answer.body(content).expect("a status and two headers of our own")
    }

    async fn fail(&self, question: &Question, error: &ProxyError) -> Answer {
        let words = error.to_string();
        let status = match error.failure {
            // What is not there is the go command's to judge: it looks in many places.
            Failure::NotFound => StatusCode::NOT_FOUND,
            Failure::Refused => StatusCode::FORBIDDEN,
            Failure::Broken | Failure::Unavailable => StatusCode::BAD_GATEWAY,
        };
        self.note(error);
        self.refuse(question.path(), status, &words).await
    }

    fn note(&self, error: &ProxyError) {
        let words = Some(error.to_string());
        let mut troubles = self.troubles();
        match error.failure {
            Failure::NotFound => {}
            Failure::Refused => troubles.refused = words,
            Failure::Broken => troubles.broken = words,
            Failure::Unavailable => troubles.unavailable = words,
        }
    }

    async fn refuse(&self, asked: &str, status: StatusCode, words: &str) -> Answer {
        let asked = shown(asked);
        let words = shown(words);
        self.say(format!("{} {asked}: {words}", status.as_u16())).await;
        let body = Full::from(format!("{words}\n")).map_err(|never| match never {}).boxed();
        let answer = Response::builder().status(status).header(CONTENT_TYPE, "text/plain; charset=utf-8").body(body);
        answer.expect("a status and a header of our own")
    }

    /// Nobody listening is no reason to serve less.
    async fn say(&self, line: String) {
        drop(self.lines.send(line).await);
    }
}

/// An answer on its way inside.
struct Passing {
    hall: Arc<Hall>,
    asked: String,
    body: Body,
    /// As far as it says.
    size: Option<u64>,
    bytes: u64,
    begun: Instant,
}

impl Passing {
    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        match self.body.chunk().await {
            Ok(Some(piece)) => {
                let length = piece.len() as u64;
                self.bytes += length;
                let budget = &self.hall.budget;
                if budget.bytes.fetch_add(length, Ordering::Relaxed) + length > budget.limits.bytes {
                    let words = format!("a build may fetch {} bytes of modules", budget.limits.bytes);
                    self.hall.troubles().too_much = Some(words.clone());
                    return Err(self.cut(words).await);
                }
                if self.size == Some(self.bytes) {
                    // Nobody asks for what comes after the last byte that was announced.
                    self.tell().await;
                }
                Ok(Some((Frame::data(piece), self)))
            }
            Ok(None) => {
                if self.size.is_none() {
                    self.tell().await;
                }
                Ok(None)
            }
            Err(error) => {
                self.hall.note(&error);
                Err(self.cut(error.to_string()).await)
            }
        }
    }

    async fn tell(&self) {
        let took = self.begun.elapsed().as_millis();
        let line = format!("200 {}: {} bytes in {took} ms from {}", self.asked, self.bytes, self.body.proxy());
        self.hall.say(line).await;
    }

    /// Ends the connection in the middle, which the go command takes for what it is.
    async fn cut(&self, words: String) -> io::Error {
        self.hall.say(format!("cut {}: {}", self.asked, shown(&words))).await;
        io::Error::other(words)
    }
}

/// The path that was meant: the go command writes a module path's `!` as `%21`. Decoded once,
/// so that a `%` that is left makes it no question.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// As far as it can do no harm in a log.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let question = decoded(path).and_then(|path| Question::parse(&path));
        assert_eq!(question.as_ref().map(Question::path), expected, "{path}");
    }

    #[test]
    fn paths_are_read_as_the_go_command_writes_them_and_no_further() {
        check("/x.com/%21azure/@v/v1.0.0-%21rc.zip", Some("x.com/!azure/@v/v1.0.0-!rc.zip"));
        check("/x.com/!azure/@v/list", Some("x.com/!azure/@v/list"));
        for path in [
            "/x.com/%2e%2e/@v/list",
            "/x.com/%2521a/@v/list",
            "/x.com/a%/@v/list",
            "/x.com/a%2/@v/list",
            "/x.com/%00/@v/list",
            "/x.com/%ff/@v/list",
        ] {
            check(path, None);
        }
    }
}
