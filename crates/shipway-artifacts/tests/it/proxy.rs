//! What goes wrong between a client and S3, on purpose.
//!
//! A small HTTP proxy on the loopback: each request is compared with the faults that were ordered, the
//! first that fits (and has times left) is played, and all requests are remembered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
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

type Body = BoxBody<Bytes, std::io::Error>;

/// What to do to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// 503, as S3 says it.
    SlowDown,
    /// A status with an error code.
    Say(u16, &'static str),
    /// 200 and an error in the body, as completions have it.
    LateError,
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
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Seen {
    pub(crate) fn is(&self, method: &str, ending: &str) -> bool {
        self.method == method && self.path.ends_with(ending)
    }

    /// A part of an upload.
    pub(crate) fn is_part(&self) -> bool {
        self.method == "PUT" && self.query.contains("partNumber=")
    }

    pub(crate) fn is_completion(&self) -> bool {
        self.method == "POST" && self.query.contains("uploadId=")
    }

    pub(crate) fn is_beginning(&self) -> bool {
        self.method == "POST" && self.query.starts_with("uploads")
    }

    /// The artifact itself, read.
    pub(crate) fn is_read(&self) -> bool {
        self.method == "GET" && self.path.rsplit('/').next().is_some_and(|name| name.len() == 64)
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
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    book: Arc<Mutex<Book>>,
    _serving: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book: Arc<Mutex<Book>> = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, server, Arc::clone(&book)));
        Self { address, book, _serving: serving }
    }

    /// Orders a fault for the next so many requests that fit.
    pub(crate) fn order(&self, times: u32, fault: Fault, which: impl Fn(&Seen) -> bool + Send + 'static) {
        self.book.lock().unwrap().orders.push(Order { times, which: Box::new(which), fault });
    }

    /// Takes back all orders; says how many were not played.
    pub(crate) fn calm(&self) -> u64 {
        self.book.lock().unwrap().orders.drain(..).map(|order| u64::from(order.times)).sum()
    }

    /// How many requests were of a kind.
    pub(crate) fn count(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.book.lock().unwrap().seen.iter().filter(|seen| which(seen)).count()
    }

    /// How many faults were played.
    pub(crate) fn played(&self) -> usize {
        self.book.lock().unwrap().played
    }

    /// Counts as [`count`](Self::count), from anywhere.
    pub(crate) fn counter(
        &self,
        which: impl Fn(&Seen) -> bool + Send + 'static,
    ) -> impl FnMut() -> usize + Send + 'static {
        let book = Arc::clone(&self.book);
        move || book.lock().unwrap().seen.iter().filter(|seen| which(seen)).count()
    }

    pub(crate) fn forget(&self) {
        self.book.lock().unwrap().seen.clear();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, book: Arc<Mutex<Book>>) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (client, book) = (client.clone(), Arc::clone(&book));
        connections.spawn(async move {
            let service = service_fn(move |request| carry(request, server, client.clone(), Arc::clone(&book)));
            // What was broken on purpose ends here.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn play(book: &Mutex<Book>, seen: Seen) -> Option<Fault> {
    let mut book = book.lock().unwrap();
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
        Some(Fault::Refuse) => return Err(broken()),
        _ => {}
    }
    let path = head.uri.path_and_query().unwrap().clone();
    head.uri = format!("http://{server}{path}").parse().unwrap();
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
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body).unwrap()
}

fn spoiled(answer: Response<Incoming>, fault: Option<Fault>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if matches!(fault, Some(Fault::WrongTag)) {
        head.headers.insert("etag", "\"00000000000000000000000000000000\"".parse().unwrap());
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
        self.get_mut().0.get_mut().unwrap().as_mut().poll_next(context)
    }
}
