//! Asking a metadata service: plain HTTP, one short exchange, everything bounded.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// One exchange, from connecting to the answer's end. These answer in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of an answer. Real ones have a few hundred.
const BYTES_MAX: usize = 256 << 10;

/// Why a metadata service could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Nobody there.
    #[error("cannot connect to {to}")]
    Connect {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The exchange broke off, or was no HTTP, or too long.
    #[error("{path}: {why}")]
    Exchange {
        /// What was asked for.
        path: String,
        /// What happened.
        why: String,
    },
    /// No answer in two seconds.
    #[error("{path}: no answer in {} s", PATIENCE.as_secs())]
    TooSlow {
        /// What was asked for.
        path: String,
    },
    /// An answer that makes no sense for the question.
    #[error("{path} answers {status}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Answer {
        /// What was asked for.
        path: String,
        /// The status.
        status: StatusCode,
        /// What is wrong with it.
        detail: Option<String>,
    },
}

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    authority: Authority,
}

/// What came back.
pub(crate) struct Answered {
    path: String,
    response: Response<Bytes>,
}

impl Metadata {
    /// `http://HOST[:PORT]`.
    pub(crate) fn at(address: &str) -> io::Result<Self> {
        let wrong = || {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is no address: http://HOST:PORT is meant"))
        };
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let bare = uri.path_and_query().is_none_or(|path| path == "/");
        match (uri.scheme() == Some(&Scheme::HTTP) && bare, uri.authority()) {
            (true, Some(authority)) => Ok(Self { authority: authority.clone() }),
            _ => Err(wrong()),
        }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answered, MetadataError> {
        self.ask(Method::GET, path, headers, Bytes::new()).await
    }

    /// Asks on a connection of its own: seconds pass between questions.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answered, MetadataError> {
        let late = || MetadataError::TooSlow { path: path.to_owned() };
        timeout(PATIENCE, self.exchange(method, path, headers, body)).await.map_err(|_| late())?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answered, MetadataError> {
        let broken = |why: String| MetadataError::Exchange { path: path.to_owned(), why };
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.authority.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| broken(error.to_string()))?;
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let _driven = Driven(tokio::spawn(connection).abort_handle());
        let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BYTES_MAX).collect().await.map_err(|error| broken(error.to_string()))?;
        Ok(Answered { path: path.to_owned(), response: Response::from_parts(head, body.to_bytes()) })
    }

    async fn connect(&self) -> Result<TcpStream, MetadataError> {
        let to = (self.authority.host(), self.authority.port_u16().unwrap_or(80));
        let failed = |source| MetadataError::Connect { to: self.authority.to_string(), source };
        TcpStream::connect(to).await.map_err(failed)
    }
}

/// Ends the connection's task with the exchange, however that ends.
struct Driven(AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answered {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.response.body()
    }

    /// The text without white space around it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).trim().to_owned()
    }

    /// That this was not what one may answer.
    pub(crate) fn wrong(&self, detail: Option<String>) -> MetadataError {
        MetadataError::Answer { path: self.path.clone(), status: self.status(), detail }
    }

    /// Itself if its status is 200.
    pub(crate) fn good(self) -> Result<Self, MetadataError> {
        if self.status() == StatusCode::OK { Ok(self) } else { Err(self.wrong(None)) }
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, MetadataError> {
        serde_json::from_slice(self.bytes()).map_err(|error| self.wrong(Some(error.to_string())))
    }
}
