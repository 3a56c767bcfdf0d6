//! Looking at a proxy without feeding it: for a worker whose proxy another process feeds.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::descriptors::{self, Lines};
use crate::wire::{Answer, Ask, Endpoint, LINE_BYTES_MAX, RouteState, VERSION};

/// Longest wait for any answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// A connection that only looks.
#[derive(Debug)]
pub struct Observer {
    stream: UnixStream,
    lines: Lines,
}

impl Observer {
    /// Connects to the proxy at `socket`, which must be of this installation.
    ///
    /// # Errors
    ///
    /// Nobody is there, or it refuses; an older one does not know of observers.
    pub async fn connect(socket: &Path, instance: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let mut observer = Self { stream, lines: Lines::default() };
        match observer.ask(&Ask::Observe { version: VERSION, instance: instance.to_owned() }).await? {
            Answer::Hello { .. } => Ok(observer),
            _ => Err(confused()),
        }
    }

    /// Requests in flight to an endpoint.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn in_flight(&mut self, endpoint: &Endpoint) -> io::Result<u64> {
        match self.ask(&Ask::InFlight { endpoint: endpoint.clone() }).await? {
            Answer::InFlight { requests } => Ok(requests),
            _ => Err(confused()),
        }
    }

    /// Where new requests of a service go; nothing for one that is not known.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn goes(&mut self, service_id: &str) -> io::Result<Option<RouteState>> {
        match self.ask(&Ask::Where { service_id: service_id.to_owned() }).await? {
            Answer::Goes { state } => Ok(state),
            _ => Err(confused()),
        }
    }

    async fn ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        let asking = async {
            descriptors::send_all(&self.stream, &line, &[]).await?;
            self.lines
                .next(&self.stream, LINE_BYTES_MAX)
                .await?
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        let line: Vec<u8> =
            timeout(ANSWER_TIME, asking).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match serde_json::from_slice(&line)? {
            Answer::Refused { reason } => Err(io::Error::other(reason)),
            answer => Ok(answer),
        }
    }
}

fn confused() -> io::Error {
    io::Error::other("the proxy gave an answer to another question")
}
