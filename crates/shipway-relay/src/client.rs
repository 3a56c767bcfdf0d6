//! The api's side: a worker's streams as if they were here.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;
use rustls::pki_types::ServerName;
use shipway_api::{ExecSession, ExecSpec, Live, LiveError, LogLines, LogQuery};
use shipway_api_types::{LogLine, Stats};
use shipway_model::{ServiceId, StreamDoor};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::identity::{NAME, client_config};
use crate::wire::{Ask, Call, Frame, Incoming, Outgoing, Said, VERSION, both, read};
use crate::{STEP_MAX, exec};

type Stream = TlsStream<TcpStream>;

/// One worker's services, over the network.
#[derive(Debug, Clone)]
pub struct RemoteLive {
    door: StreamDoor,
}

impl RemoteLive {
    /// Nothing is connected before something is asked.
    #[must_use]
    pub const fn new(door: StreamDoor) -> Self {
        Self { door }
    }

    async fn call(&self, service: ServiceId, ask: Ask) -> Result<(Incoming<Stream>, Outgoing<Stream>), LiveError> {
        let calling = async {
            let config = client_config(&self.door.certificate).map_err(io::Error::other)?;
            let stream = TcpStream::connect(&self.door.address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let (incoming, mut outgoing) = both(stream);
            let secret = self.door.secret.clone();
            outgoing.say(&Call { version: VERSION, secret, service, ask }).await?;
            Ok((incoming, outgoing))
        };
        match timeout(STEP_MAX, calling).await {
            Ok(called) => called.map_err(|error: io::Error| self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&"it does not answer")),
        }
    }

    fn unreachable(&self, reason: &dyn fmt::Display) -> LiveError {
        let address = &self.door.address;
        LiveError::Unavailable(format!("the worker that has this service cannot be reached at {address}: {reason}"))
    }

    fn confused(&self) -> LiveError {
        self.unreachable(&"it answers something else")
    }

    async fn said(&self, incoming: &mut Incoming<Stream>) -> Result<Said, LiveError> {
        match incoming.next().await {
            Ok(Some(Frame::Words(words))) => read(&words).map_err(|error| self.unreachable(&error)),
            Ok(Some(_)) => Err(self.confused()),
            Ok(None) => Err(self.unreachable(&"it hung up")),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    async fn started(&self, incoming: &mut Incoming<Stream>) -> Result<(), LiveError> {
        match self.said(incoming).await? {
            Said::Started => Ok(()),
            Said::Refused(error) => Err(error),
            _ => Err(self.confused()),
        }
    }

    async fn next_line(&self, incoming: &mut Incoming<Stream>) -> Option<Result<LogLine, LiveError>> {
        match self.said(incoming).await {
            Ok(Said::Line(line)) => Some(Ok(*line)),
            Ok(Said::End) => None,
            Ok(Said::Refused(error)) | Err(error) => Some(Err(error)),
            Ok(_) => Some(Err(self.confused())),
        }
    }
}

/// Lines under way.
struct Reading {
    live: RemoteLive,
    incoming: Incoming<Stream>,
    // Closing it is how the worker hears that nobody reads any more.
    _outgoing: Outgoing<Stream>,
    is_over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<LogLine, LiveError>> {
        if self.is_over {
            return None;
        }
        let next = self.live.next_line(&mut self.incoming).await;
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

#[async_trait]
impl Live for RemoteLive {
    async fn reachable(&self, service: ServiceId) {
        let waiting = async {
            let (mut incoming, _outgoing) = self.call(service, Ask::Reachable).await?;
            self.said(&mut incoming).await
        };
        if let Err(error) = waiting.await {
            tracing::warn!(service.id = %service, %error, "whether visitors reach it is not known");
        }
    }

    async fn logs(&self, service: ServiceId, query: LogQuery) -> Result<LogLines, LiveError> {
        let (mut incoming, outgoing) = self.call(service, Ask::Logs(query)).await?;
        self.started(&mut incoming).await?;
        let reading = Reading { live: self.clone(), incoming, _outgoing: outgoing, is_over: false };
        let lines = stream::unfold(reading, |mut reading| async move {
            let line = reading.next().await?;
            Some((line, reading))
        });
        Ok(lines.boxed())
    }

    async fn stats(&self, service: ServiceId) -> Result<Stats, LiveError> {
        let (mut incoming, _outgoing) = self.call(service, Ask::Stats).await?;
        match self.said(&mut incoming).await? {
            Said::Stats(stats) => Ok(*stats),
            Said::Refused(error) => Err(error),
            _ => Err(self.confused()),
        }
    }

    async fn exec(&self, service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        let (mut incoming, outgoing) = self.call(service, Ask::Exec(spec)).await?;
        self.started(&mut incoming).await?;
        Ok(exec::session(incoming, outgoing))
    }
}
