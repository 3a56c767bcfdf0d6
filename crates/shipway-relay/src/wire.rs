//! What the two sides say, version [`VERSION`].
//!
//! Frames: four bytes of length, one byte that says what it is, the rest. Words are JSON;
//! what a process writes and reads is sent as it is.
//!
//! ```text
//! api ── call (with the secret) ──► worker
//!     ◄── refused, or: done | stats | started, line…, end | started, output…, exited
//!     ── input… ─────────────────►          (exec only)
//!     ◄─► sign                              whenever there is nothing else to say
//! ```

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shipway_api::{ExecSpec, LiveError, LogQuery};
use shipway_api_types::{LogLine, Stats, TerminalSize};
use shipway_model::ServiceId;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::SILENCE_MAX;

/// Version of every frame. Fields are added with defaults and never change their meaning.
pub(crate) const VERSION: u32 = 1;

/// The longest frame, in bytes. A line of a log is far shorter, and output is cut anywhere.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// The first frame of a connection: who asks for what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) version: u32,
    pub(crate) secret: String,
    pub(crate) service: ServiceId,
    pub(crate) ask: Ask,
}

/// What is asked of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Reachable,
    Stats,
    Logs(LogQuery),
    Exec(ExecSpec),
}

/// What a worker says, but for a process's output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Refused(LiveError),
    Done,
    Stats(Box<Stats>),
    Line(Box<LogLine>),
    /// Lines follow, or a process runs.
    Started,
    /// No more lines.
    End,
    Exited(i32),
}

/// What an api says to a process, but for its input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Eof,
    Resize(TerminalSize),
    Signal(i32),
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// JSON.
    Words(Bytes),
    /// Standard output, or input.
    Data(Bytes),
    /// Standard error.
    Errors(Bytes),
    /// Nothing, but alive.
    Sign,
}

impl Frame {
    pub(crate) fn words(words: &impl Serialize) -> io::Result<Self> {
        Ok(Self::Words(serde_json::to_vec(words)?.into()))
    }

    fn into_bytes(self) -> Bytes {
        let (kind, rest) = match self {
            Self::Words(rest) => (0, rest),
            Self::Data(rest) => (1, rest),
            Self::Errors(rest) => (2, rest),
            Self::Sign => (3, Bytes::new()),
        };
        let mut bytes = BytesMut::with_capacity(rest.len() + 1);
        bytes.put_u8(kind);
        bytes.put(rest);
        bytes.freeze()
    }

    fn of(mut bytes: Bytes) -> io::Result<Self> {
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an empty frame"));
        }
        let rest = bytes.split_off(1);
        match bytes[0] {
            0 => Ok(Self::Words(rest)),
            1 => Ok(Self::Data(rest)),
            2 => Ok(Self::Errors(rest)),
            3 => Ok(Self::Sign),
            kind => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of kind {kind}"))),
        }
    }
}

/// Reads JSON words.
pub(crate) fn read<T: DeserializeOwned>(words: &[u8]) -> io::Result<T> {
    serde_json::from_slice(words).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// One direction in.
#[derive(Debug)]
pub(crate) struct Incoming<S>(FramedRead<ReadHalf<S>, LengthDelimitedCodec>);

/// One direction out.
#[derive(Debug)]
pub(crate) struct Outgoing<S>(FramedWrite<WriteHalf<S>, LengthDelimitedCodec>);

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX + 1).new_codec()
}

/// Both directions of a connection.
pub(crate) fn both<S: AsyncRead + AsyncWrite>(stream: S) -> (Incoming<S>, Outgoing<S>) {
    let (reading, writing) = tokio::io::split(stream);
    (Incoming(FramedRead::new(reading, codec())), Outgoing(FramedWrite::new(writing, codec())))
}

impl<S: AsyncRead> Incoming<S> {
    /// The next frame but signs; `None` at a good end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match timeout(SILENCE_MAX, self.0.next()).await {
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was heard any more")),
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) => match Frame::of(bytes?.freeze())? {
                    Frame::Sign => {}
                    frame => return Ok(Some(frame)),
                },
            }
        }
    }
}

impl<S: AsyncRead> Incoming<S> {
    /// Waits until the other side has closed, broken or said what nobody asked for. Silence
    /// is fine.
    pub(crate) async fn gone(&mut self) {
        while let Some(Ok(bytes)) = self.0.next().await {
            if !matches!(Frame::of(bytes.freeze()), Ok(Frame::Sign)) {
                return;
            }
        }
    }
}

impl<S: AsyncWrite> Outgoing<S> {
    pub(crate) async fn send(&mut self, frame: Frame) -> io::Result<()> {
        // A side that takes nothing any more must not be waited for longer than for one
        // that says nothing.
        let sent = timeout(SILENCE_MAX, self.0.send(frame.into_bytes())).await;
        sent.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "nothing was taken any more"))?
    }

    pub(crate) async fn say(&mut self, words: &impl Serialize) -> io::Result<()> {
        self.send(Frame::words(words)?).await
    }

    /// Says that nothing more comes.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        let closed = timeout(SILENCE_MAX, SinkExt::<Bytes>::close(&mut self.0)).await;
        closed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
