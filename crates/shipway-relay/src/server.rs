//! The worker's side: one call a connection.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt;
use shipway_api::{Live, LiveError, LogQuery};
use shipway_model::ServiceId;
use shipway_stdx::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::wire::{Ask, Call, Frame, Incoming, Outgoing, Said, VERSION, both, read};
use crate::{CALLS_MAX, Identity, SIGN_EVERY, STEP_MAX, exec};

/// Between two tries to accept when there are no descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

type Stream = TlsStream<TcpStream>;

/// Answers calls until told to stop; those under way are cut off then.
pub async fn serve(listener: TcpListener, identity: Identity, live: Arc<dyn Live>, mut shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CALLS_MAX));
    let mut calls = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = calls.join_next() => {
                log_panic(ended);
                continue;
            }
            () = shutdown.requested() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a call");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One too many is not answered at all: whoever knows nothing learns nothing.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (identity, live) = (identity.clone(), Arc::clone(&live));
        calls.spawn(async move {
            if let Err(error) = answer(stream, &identity, live.as_ref()).await {
                tracing::debug!(%peer, %error, "a call broke off");
            }
            drop(place);
        });
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a call ended badly");
    }
}

async fn answer(stream: TcpStream, identity: &Identity, live: &dyn Live) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.server));
    let greeted = async {
        let (mut incoming, outgoing) = both(acceptor.accept(stream).await?);
        match incoming.next().await? {
            Some(Frame::Words(words)) => Ok((read::<Call>(&words)?, incoming, outgoing)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this is no call")),
        }
    };
    let (call, incoming, mut outgoing) =
        timeout(STEP_MAX, greeted).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if !identity.opens(&call.secret) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a caller without the secret"));
    }
    if call.version != VERSION {
        let reason = format!("this worker speaks version {VERSION} of the relay, not {}", call.version);
        outgoing.say(&Said::Refused(LiveError::Unavailable(reason))).await?;
        return outgoing.close().await;
    }
    carry_out(call.service, call.ask, live, incoming, &mut outgoing).await?;
    outgoing.close().await
}

async fn carry_out(
    service: ServiceId,
    ask: Ask,
    live: &dyn Live,
    incoming: Incoming<Stream>,
    outgoing: &mut Outgoing<Stream>,
) -> io::Result<()> {
    match ask {
        Ask::Reachable => {
            live.reachable(service).await;
            outgoing.say(&Said::Done).await
        }
        Ask::Stats => match live.stats(service).await {
            Ok(stats) => outgoing.say(&Said::Stats(Box::new(stats))).await,
            Err(error) => outgoing.say(&Said::Refused(error)).await,
        },
        Ask::Logs(query) => logs(service, query, live, incoming, outgoing).await,
        Ask::Exec(spec) => match live.exec(service, spec).await {
            Ok(session) => {
                outgoing.say(&Said::Started).await?;
                exec::between(session, incoming, outgoing).await
            }
            Err(error) => outgoing.say(&Said::Refused(error)).await,
        },
    }
}

async fn logs(
    service: ServiceId,
    query: LogQuery,
    live: &dyn Live,
    mut incoming: Incoming<Stream>,
    outgoing: &mut Outgoing<Stream>,
) -> io::Result<()> {
    let mut lines = match live.logs(service, query).await {
        Ok(lines) => lines,
        Err(error) => return outgoing.say(&Said::Refused(error)).await,
    };
    outgoing.say(&Said::Started).await?;
    // A caller that has asked says nothing more; hearing from it is hearing that it has gone.
    let gone = incoming.gone();
    tokio::pin!(gone);
    loop {
        let said = tokio::select! {
            line = lines.next() => match line {
                Some(Ok(line)) => Said::Line(Box::new(line)),
                Some(Err(error)) => return outgoing.say(&Said::Refused(error)).await,
                None => return outgoing.say(&Said::End).await,
            },
            () = &mut gone => return Ok(()),
            () = sleep(SIGN_EVERY) => {
                outgoing.send(Frame::Sign).await?;
                continue;
            }
        };
        outgoing.say(&said).await?;
    }
}
