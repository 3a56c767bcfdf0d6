//! A process in a service's container, over a WebSocket.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, header};
use shipway_api_types::stream::{FRAME_STDERR, FRAME_STDIN, FRAME_STDOUT};
use shipway_api_types::{ExecClient, ExecServer, Problem, TerminalSize};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use url::form_urlencoded;

use crate::connect::{self, Stream};
use crate::{Client, Error};

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecStart {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Further environment.
    pub env: BTreeMap<String, String>,
    /// Its terminal, if it is to have one.
    pub terminal: Option<TerminalSize>,
}

/// From the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Standard output, or the terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It ended: status, or 128 and the signal's number. The last message.
    Exited(i32),
}

/// To the process.
#[derive(Debug)]
pub struct ExecInput(SplitSink<WebSocketStream<Stream>, Message>);

/// From the process.
#[derive(Debug)]
pub struct ExecOutputs(SplitStream<WebSocketStream<Stream>>);

/// A running process. Dropping both halves kills it.
#[derive(Debug)]
pub struct Exec {
    /// The way to it.
    pub input: ExecInput,
    /// The way from it.
    pub output: ExecOutputs,
}

impl Client {
    /// Runs a process in the container of a service.
    ///
    /// # Errors
    ///
    /// [`Error`]; that it cannot be run may also be told by the first
    /// [`ExecOutputs::next`].
    pub async fn exec(&self, reference: &str, start: ExecStart) -> Result<Exec, Error> {
        let safe: String = form_urlencoded::byte_serialize(reference.as_bytes()).collect();
        let path = format!("/v1/services/{safe}/exec");
        let request = self.upgrade(&path)?;
        let stream = connect::open(self.address()).await?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(broken)?;
        let (sink, output) = socket.split();
        let mut input = ExecInput(sink);
        input.tell(&ExecClient::Start { argv: start.argv, env: start.env, terminal: start.terminal }).await?;
        Ok(Exec { input, output: ExecOutputs(output) })
    }

    fn upgrade(&self, path: &str) -> Result<Request<()>, Error> {
        // The library wants a whole URL; where it goes is the stream's business.
        let authority = self.address().authority();
        let mut request = Request::builder()
            .uri(format!("ws://{authority}{path}"))
            .header(header::HOST, authority)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .body(())
            .map_err(|error| Error::Nonsense(error.to_string()))?;
        let authorization: Option<HeaderValue> = self.authorization()?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// A refused upgrade has the problem in its body.
fn broken(error: SocketError) -> Error {
    if let SocketError::Http(response) = &error {
        let body = response.body().as_deref().unwrap_or_default();
        if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            return Error::Refused(Box::new(problem));
        }
    }
    Error::Broken(Box::new(error))
}

impl ExecOutputs {
    /// The next message of the process; `None` after [`ExecOutput::Exited`].
    ///
    /// # Errors
    ///
    /// The connection broke off, or the process could not be run.
    pub async fn next(&mut self) -> Result<Option<ExecOutput>, Error> {
        while let Some(message) = self.0.next().await {
            let said = match message.map_err(|error| Error::Broken(Box::new(error)))? {
                Message::Binary(bytes) => output(&bytes)?,
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(ExecServer::Exit { code }) => ExecOutput::Exited(code),
                    Ok(ExecServer::Error { problem }) => return Err(Error::Refused(problem)),
                    Err(error) => return Err(Error::Nonsense(error.to_string())),
                },
                Message::Close(_) => return Ok(None),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            return Ok(Some(said));
        }
        Ok(None)
    }
}

fn output(bytes: &Bytes) -> Result<ExecOutput, Error> {
    match bytes.first() {
        Some(&FRAME_STDOUT) => Ok(ExecOutput::Stdout(bytes.slice(1..))),
        Some(&FRAME_STDERR) => Ok(ExecOutput::Stderr(bytes.slice(1..))),
        _ => Err(Error::Nonsense("a message of an unknown stream".to_owned())),
    }
}

impl ExecInput {
    /// Standard input, or keys.
    ///
    /// # Errors
    ///
    /// The connection broke off.
    pub async fn stdin(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut framed = BytesMut::with_capacity(bytes.len() + 1);
        framed.put_u8(FRAME_STDIN);
        framed.put_slice(bytes);
        self.send(Message::Binary(framed.freeze())).await
    }

    /// Standard input has ended.
    ///
    /// # Errors
    ///
    /// The connection broke off.
    pub async fn eof(&mut self) -> Result<(), Error> {
        self.tell(&ExecClient::Eof).await
    }

    /// The terminal has another size.
    ///
    /// # Errors
    ///
    /// The connection broke off.
    pub async fn resize(&mut self, size: TerminalSize) -> Result<(), Error> {
        self.tell(&ExecClient::Resize(size)).await
    }

    /// Sends the process a signal.
    ///
    /// # Errors
    ///
    /// The connection broke off.
    pub async fn signal(&mut self, signal: i32) -> Result<(), Error> {
        self.tell(&ExecClient::Signal { signal }).await
    }

    async fn tell(&mut self, message: &ExecClient) -> Result<(), Error> {
        let text = serde_json::to_string(message).map_err(|e| Error::Nonsense(e.to_string()))?;
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message).await.map_err(|error| Error::Broken(Box::new(error)))
    }
}
