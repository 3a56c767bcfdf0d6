//! What goes wrong between a client and S3, on purpose.
//!
//! A small HTTP proxy on the loopback: each request is compared with the faults that were ordered, the
//! first that fits (and has times left) is played, and all requests are remembered.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// No tag of anything.
const WRONG_TAG: HeaderValue = HeaderValue::from_static("\"00000000000000000000000000000000\"");

type Body = BoxBody<Bytes, std::io::Error>;

/// What to do to a request.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// 503, as S3 says it.
    SlowDown,
    /// A status with an error code.
    Say(u16, &'static str),
    /// 200 and an error in the body, as completions have it.
    LateError,
    /// It is not done, and answered as if it were: no server does so, one that lost its disk may as well have.
    Swallow,
    /// It is done; the connection ends before anybody hears so.
    LoseAnswer,
    /// The connection ends before it is done.
    Refuse,
    /// It is done; nothing is answered, for as long as the proxy lives.
    Silence,
    /// The body ends in a broken connection after so many bytes.
    Cut(usize),
    /// The body stops after so many bytes, for as long as the proxy lives.
    Stall(usize),
    /// One byte of the body is another.
    Flip(usize),
    /// Its tag is another one than the server said.
    WrongTag,
}

/// A request that came by.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `PUT`.
    pub method: String,
    /// Bucket and key.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
}

impl Seen {
    /// Whether it is this method, on a path with this ending.
    #[must_use]
    pub fn is(&self, method: &str, ending: &str) -> bool {
        self.method == method && self.path.ends_with(ending)
    }

    /// A part of an upload.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.method == "PUT" && self.query.contains("partNumber=")
    }

    /// The end of an upload.
    #[must_use]
    pub fn is_completion(&self) -> bool {
        self.method == "POST" && self.query.contains("uploadId=")
    }

    /// The begin of an upload.
    #[must_use]
    pub fn is_beginning(&self) -> bool {
        self.method == "POST" && self.query.starts_with("uploads")
    }

    /// The artifact itself, read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.method == "GET" && self.is_object()
    }

    /// The artifact itself, whole in one request.
    #[must_use]
    pub fn is_put(&self) -> bool {
        self.method == "PUT" && self.query.is_empty() && self.is_object()
    }

    fn is_object(&self) -> bool {
        self.path.rsplit('/').next().is_some_and(|name| name.len() == 64)
    }
}

type Which = Box<dyn Fn(&Seen) -> bool + Send>;

struct Order {
    times: u32,
    which: Which,
    fault: Fault,
}

#[derive(Default)]
struct Book {
    orders: Vec<Order>,
    played: usize,
    seen: Vec<Seen>,
}

/// The proxy; it ends when this is dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    book: Arc<Mutex<Book>>,
    _serving: JoinSet<()>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// One before this server, on a port of its own.
    ///
    /// # Panics
    ///
    /// There is no port.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let book: Arc<Mutex<Book>> = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, server, Arc::clone(&book)));
        Self { address, book, _serving: serving }
    }

    /// Orders a fault for the next so many requests that fit.
    pub fn order(&self, times: u32, fault: Fault, which: impl Fn(&Seen) -> bool + Send + 'static) {
        lock(&self.book).orders.push(Order { times, which: Box::new(which), fault });
    }

    /// Takes back all orders; says how many were not played.
    pub fn calm(&self) -> u64 {
        lock(&self.book).orders.drain(..).map(|order| u64::from(order.times)).sum()
    }

    /// How many requests were of a kind.
    #[must_use]
    pub fn count(&self, which: impl Fn(&Seen) -> bool) -> usize {
        lock(&self.book).seen.iter().filter(|seen| which(seen)).count()
    }

    /// How many faults were played.
    #[must_use]
    pub fn played(&self) -> usize {
        lock(&self.book).played
    }

    /// Counts as [`count`](Self::count), from anywhere.
    pub fn counter(&self, which: impl Fn(&Seen) -> bool + Send + 'static) -> impl FnMut() -> usize + Send + 'static {
        let book = Arc::clone(&self.book);
        move || lock(&book).seen.iter().filter(|seen| which(seen)).count()
    }

    /// Forgets what came by.
    pub fn forget(&self) {
        lock(&self.book).seen.clear();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, book: Arc<Mutex<Book>>) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut connections = JoinSet::new();
    loop {
        // Out of descriptors, say: nobody connects then.
        let Ok((stream, _)) = listener.accept().await else { return };
        let (client, book) = (client.clone(), Arc::clone(&book));
        connections.spawn(async move {
            let service = service_fn(move |request| carry(request, server, client.clone(), Arc::clone(&book)));
            // What was broken on purpose ends here.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn play(book: &Mutex<Book>, seen: Seen) -> Option<Fault> {
    let mut book = lock(book);
    let found = book.orders.iter_mut().find(|order| order.times > 0 && (order.which)(&seen));
    let fault = found.map(|order| {
        order.times -= 1;
        order.fault
    });
    book.played += usize::from(fault.is_some());
    book.seen.push(seen);
    fault
}

async fn carry(
    request: Request<Incoming>,
    server: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    book: Arc<Mutex<Book>>,
) -> Result<Response<Body>, std::io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let fault = play(&book, seen(&head));
    match fault {
        Some(Fault::SlowDown) => return Ok(said(503, "SlowDown")),
        Some(Fault::Say(status, code)) => return Ok(said(status, code)),
        Some(Fault::LateError) => return Ok(said(200, "InternalError")),
        Some(Fault::Swallow) => return Ok(swallowed()),
        Some(Fault::Refuse) => return Err(broken()),
        _ => {}
    }
    let path = head.uri.path_and_query().ok_or_else(broken)?.clone();
    head.uri = format!("http://{server}{path}").parse().map_err(std::io::Error::other)?;
    let answer = client.request(Request::from_parts(head, Full::new(body))).await.map_err(std::io::Error::other)?;
    match fault {
        Some(Fault::LoseAnswer) => {
            answer.into_body().collect().await.map_err(std::io::Error::other)?;
            Err(broken())
        }
        Some(Fault::Silence) => std::future::pending().await,
        fault => Ok(spoiled(answer, fault)),
    }
}

fn seen(head: &http::request::Parts) -> Seen {
    let query = head.uri.query().unwrap_or_default().to_owned();
    Seen { method: head.method.to_string(), path: head.uri.path().to_owned(), query }
}

fn broken() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

fn said(status: u16, code: &str) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

fn swallowed() -> Response<Body> {
    let nothing = Full::new(Bytes::new()).map_err(|never: Infallible| match never {}).boxed();
    let mut answer = Response::new(nothing);
    answer.headers_mut().insert("etag", WRONG_TAG);
    answer
}

fn spoiled(answer: Response<Incoming>, fault: Option<Fault>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if matches!(fault, Some(Fault::WrongTag)) {
        head.headers.insert("etag", WRONG_TAG);
    }
    let body = body.map_err(std::io::Error::other).boxed();
    Response::from_parts(head, through(body, fault))
}

/// The body with its fault, keeping the length that was promised.
fn through(body: Body, fault: Option<Fault>) -> Body {
    let frames = stream::try_unfold((body, 0_usize), move |(mut body, passed)| async move {
        let Some(frame) = body.frame().await.transpose()? else { return Ok(None) };
        let Ok(data) = frame.into_data() else { return Ok(None) };
        let (data, after) = match fault {
            Some(Fault::Cut(at)) if passed >= at => return Err(broken()),
            Some(Fault::Stall(at)) if passed >= at => return std::future::pending().await,
            Some(Fault::Cut(at) | Fault::Stall(at)) => {
                let data = data.slice(..data.len().min(at - passed));
                (data.clone(), passed + data.len())
            }
            Some(Fault::Flip(at)) if (passed..passed + data.len()).contains(&at) => {
                let mut wrong = data.to_vec();
                wrong[at - passed] ^= 1;
                (Bytes::from(wrong), passed + data.len())
            }
            _ => (data.clone(), passed + data.len()),
        };
        Ok(Some((Frame::data(data), (body, after))))
    });
    BoxBody::new(StreamBody::new(SyncFrames(Mutex::new(Box::pin(frames)))))
}

/// A stream that is only ever polled by one at a time.
struct SyncFrames<S>(Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncFrames<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.get_mut().0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(context)
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
