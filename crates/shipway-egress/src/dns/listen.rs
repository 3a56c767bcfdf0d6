//! The loops that take questions, by datagram and by connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Ears;
use super::answer::{Asked, Judged, judge};
use super::members::{Member, Members, count};
use super::upstream::{Upstreams, ask, read_framed, write_framed};

/// The longest question taken: a name has 255 bytes, the rest is options.
const QUESTION_MAX: usize = 1024;
/// The largest answer by TCP.
const TCP_ANSWER_MAX: usize = 65_535;
/// How long a connection may be silent, and how many questions it may bring.
const SILENT_MAX: Duration = Duration::from_secs(5);
const QUESTIONS_A_CONNECTION: usize = 64;
/// After an error of a listening socket (no descriptors left), before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// What a loop needs.
#[derive(Debug, Clone)]
struct Desk {
    members: Arc<Members>,
    upstreams: Arc<Upstreams>,
}

/// Everything but the answering itself happens in this one future, so that dropping it
/// closes the listening sockets before anything else can happen.
pub(super) async fn run(all: Vec<Ears>, members: Arc<Members>, upstreams: Upstreams) -> io::Result<()> {
    let desk = Desk { members, upstreams: Arc::new(upstreams) };
    let mut all = all.into_iter();
    let (v4, v6) = (all.next(), all.next());
    tokio::try_join!(hear(v4, &desk), hear(v6, &desk))?;
    Ok(())
}

async fn hear(ears: Option<Ears>, desk: &Desk) -> io::Result<()> {
    let Some(ears) = ears else { return Ok(()) };
    let (udp, tcp) = (UdpSocket::from_std(ears.udp)?, TcpListener::from_std(ears.tcp)?);
    tokio::join!(datagrams(udp, desk), connections(tcp, desk));
    Ok(())
}

async fn datagrams(socket: UdpSocket, desk: &Desk) {
    let mut answering = JoinSet::new();
    let mut buffer = [0; QUESTION_MAX + 1];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => desk.take(&mut answering, &buffer[..length], from),
                Err(error) => {
                    tracing::debug!(%error, "could not receive a question");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            // One that panicked over hostile bytes has no answer.
            Some(done) = answering.join_next() => if let Ok(Some((answer, to))) = done {
                // A container that is gone needs none, nor one that does not read.
                drop(socket.try_send_to(&answer, to));
            },
        }
    }
}

async fn connections(listener: TcpListener, desk: &Desk) {
    let mut serving = JoinSet::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "could not accept a connection for names");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while serving.try_join_next().is_some() {}
        serving.spawn(desk.clone().serve(stream, from));
    }
}

impl Desk {
    /// Has a datagram answered, if there is room.
    fn take(&self, answering: &mut JoinSet<Option<(Vec<u8>, SocketAddr)>>, bytes: &[u8], from: SocketAddr) {
        let Some(member) = self.members.find(from.ip()) else { return };
        let Some(permits) = self.admit(&member).filter(|_| bytes.len() <= QUESTION_MAX) else {
            return count(&member.dropped);
        };
        let (desk, bytes) = (self.clone(), bytes.to_vec());
        answering.spawn(async move {
            let answer = desk.answer(&member, &bytes, None).await;
            drop(permits);
            Some((answer?, from))
        });
    }

    /// Room for one more question, of this container and of all.
    fn admit(&self, member: &Member) -> Option<[OwnedSemaphorePermit; 2]> {
        let take = |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).try_acquire_owned().ok();
        Some([take(&member.questions)?, take(&self.members.questions)?])
    }

    async fn serve(self, mut stream: TcpStream, from: SocketAddr) {
        let Some(member) = self.members.find(from.ip()) else { return };
        let Ok(_connection) = Arc::clone(&member.connections).try_acquire_owned() else {
            return count(&member.dropped);
        };
        for _ in 0..QUESTIONS_A_CONNECTION {
            let Ok(Ok(bytes)) = timeout(SILENT_MAX, read_framed(&mut stream, QUESTION_MAX)).await else { return };
            let Some(permits) = self.admit(&member) else { return count(&member.dropped) };
            let Some(answer) = self.answer(&member, &bytes, Some(TCP_ANSWER_MAX)).await else { return };
            drop(permits);
            let Ok(Ok(())) = timeout(SILENT_MAX, write_framed(&mut stream, &answer)).await else { return };
        }
    }

    /// The bytes to send back; `most` where the transport sets the size, not the asker.
    async fn answer(&self, member: &Member, bytes: &[u8], most: Option<usize>) -> Option<Vec<u8>> {
        let policy = member.policy();
        let asked: Box<Asked> = match judge(bytes, &policy) {
            Judged::Ask(asked) => asked,
            Judged::Ignore => return None,
            Judged::Answer(bytes, counts) => {
                if counts {
                    count(&member.refused);
                }
                return Some(bytes);
            }
        };
        count(&member.asked);
        let most = most.unwrap_or_else(|| asked.udp_size());
        let Some(found) = ask(&self.upstreams, &asked).await else {
            count(&member.failed);
            return asked.bytes(&asked.failure(), most);
        };
        let (answer, withheld) = asked.answer(found, &policy);
        if withheld {
            count(&member.refused);
        }
        asked.bytes(&answer, most)
    }
}
