//! Sending one request and reading its answer.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shipway_api_types::Problem;

use crate::connect;
use crate::{Address, Error};

/// Largest answer that is read whole. Pages have at most 500 items.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest a quick answer may take; a change may take its `wait` longer.
const ANSWER_TIME: Duration = Duration::from_secs(60);

type AnyError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = BoxBody<Bytes, AnyError>;

/// A client of one API. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    address: Address,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A request about to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// How long beyond [`ANSWER_TIME`] the head of the answer may take.
    pub(crate) patience: Duration,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: full(Bytes::new()),
            patience: Duration::ZERO,
        }
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(body).map_err(|error| Error::Nonsense(error.to_string()))?;
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(header::CONTENT_TYPE, json);
        self.body = full(bytes.into());
        Ok(self)
    }

    pub(crate) fn bytes(mut self, bytes: Bytes) -> Self {
        self.body = full(bytes);
        self
    }

    /// A body that is sent as it is read. `patience` covers the sending.
    pub(crate) fn stream(mut self, chunks: BoxStream<'static, std::io::Result<Bytes>>) -> Self {
        let bytes = HeaderValue::from_static("application/octet-stream");
        self.headers.insert(header::CONTENT_TYPE, bytes);
        let frames = chunks.map(|chunk| chunk.map(Frame::data).map_err(AnyError::from));
        self.body = BodyExt::boxed(StreamBody::new(SyncStream::new(frames.boxed())));
        self
    }

    pub(crate) const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// `BoxBody` wants `Sync`, which a stream of a file is not; nobody shares it.
struct SyncStream<T>(std::sync::Mutex<BoxStream<'static, T>>);

impl<T> SyncStream<T> {
    const fn new(stream: BoxStream<'static, T>) -> Self {
        Self(std::sync::Mutex::new(stream))
    }
}

impl<T> futures_util::Stream for SyncStream<T> {
    type Item = T;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<T>> {
        let stream = self.get_mut().0.get_mut();
        let stream = stream.unwrap_or_else(std::sync::PoisonError::into_inner);
        stream.poll_next_unpin(cx)
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(AnyError::from).boxed()
}

impl Client {
    /// A client that sends `token`, if there is one, with every request.
    #[must_use]
    pub const fn new(address: Address, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// Where it asks.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// `Bearer <token>`, marked so that no debug output shows it.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(token) = &self.token else {
            return Ok(None);
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Error::Nonsense("the token has characters no token has".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Sends a request; an answer that is no success is an [`Error::Refused`].
    pub(crate) async fn send(&self, call: Call) -> Result<Response<Incoming>, Error> {
        let limit = ANSWER_TIME + call.patience;
        let response = tokio::time::timeout(limit, self.exchange(call))
            .await
            .map_err(|_| Error::Broken("no answer in time".into()))??;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(refusal(response).await)
    }

    /// Sends a request and returns the answer, whatever it is.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Response<Incoming>, Error> {
        let stream = connect::open(&self.address).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Error::Broken(error.into()))?;
        // Ends by itself when the answer's body is read or dropped.
        tokio::spawn(connection);
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() =
            call.path.parse().map_err(|_| Error::Nonsense(format!("`{}` cannot be asked for", call.path)))?;
        *request.headers_mut() = call.headers;
        self.complete(request.headers_mut())?;
        sender.send_request(request).await.map_err(|error| Error::Broken(error.into()))
    }

    /// Adds what every request has, unless the caller has set it.
    fn complete(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        let host = HeaderValue::from_str(&self.address.authority())
            .map_err(|_| Error::Nonsense("the address has a strange host name".to_owned()))?;
        headers.entry(header::HOST).or_insert(host);
        if let Some(value) = self.authorization()? {
            headers.entry(header::AUTHORIZATION).or_insert(value);
        }
        Ok(())
    }

    /// Sends a request and reads a JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let response = self.send(call).await?;
        read_json(response).await
    }

    /// Sends a request whose answer has no body worth reading.
    pub(crate) async fn done(&self, call: Call) -> Result<StatusCode, Error> {
        Ok(self.send(call).await?.status())
    }
}

/// Reads a JSON answer.
pub(crate) async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Error> {
    let bytes = read(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Nonsense(error.to_string()))
}

/// Reads a whole answer, bounded.
pub(crate) async fn read(response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::Nonsense("the answer is far too large".to_owned())),
        Err(error) => Err(Error::Broken(error)),
    }
}

async fn refusal(response: Response<Incoming>) -> Error {
    let status = response.status();
    let bytes = match read(response).await {
        Ok(bytes) => bytes,
        Err(error) => return error,
    };
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Error::Refused(Box::new(problem)),
        Err(_) => Error::Nonsense(format!("status {status} without a problem")),
    }
}
