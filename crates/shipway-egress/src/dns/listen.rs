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

pub(super) async fn run(all: Vec<Ears>, members: Arc<Members>, upstreams: Upstreams) -> io::Result<()> {
    let desk = Desk { members, upstreams: Arc::new(upstreams) };
    let mut loops = JoinSet::new();
    for ears in all {
        let (udp, tcp) = (UdpSocket::from_std(ears.udp)?, TcpListener::from_std(ears.tcp)?);
        loops.spawn(datagrams(Arc::new(udp), desk.clone()));
        loops.spawn(connections(tcp, desk.clone()));
    }
    // They never end; one that panicked takes the forwarder down, visibly.
    match loops.join_next().await {
        Some(Err(error)) => Err(io::Error::other(error)),
        _ => Ok(()),
    }
}

async fn datagrams(socket: Arc<UdpSocket>, desk: Desk) {
    let mut answering = JoinSet::new();
    let mut buffer = [0; QUESTION_MAX + 1];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "could not receive a question");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while answering.try_join_next().is_some() {}
        let Some(member) = desk.members.find(from.ip()) else { continue };
        let Some(permits) = desk.admit(&member).filter(|_| length <= QUESTION_MAX) else {
            count(&member.dropped);
            continue;
        };
        let (desk, socket, bytes) = (desk.clone(), Arc::clone(&socket), buffer[..length].to_vec());
        answering.spawn(async move {
            if let Some(answer) = desk.answer(&member, &bytes, None).await {
                // A container that is gone needs no answer.
                drop(socket.send_to(&answer, from).await);
            }
            drop(permits);
        });
    }
}

async fn connections(listener: TcpListener, desk: Desk) {
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
