//! Asking the resolvers of the host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::{Asked, UDP_ANSWER_MAX, is_answer_to};

/// How long one resolver may take over one try, and all of them together over all.
const TRY_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often each is asked.
const ROUNDS: usize = 2;
/// Resolvers made use of: as many as the C library does.
const UPSTREAMS_MAX: usize = 3;
/// The largest answer taken by TCP. Real ones have a few KiB.
const TCP_ANSWER_MAX: usize = 32 << 10;
/// The longest list of resolvers read.
const LIST_BYTES_MAX: u64 = 64 << 10;
/// Wrong datagrams put up with while waiting for the right one.
const STRAYS_MAX: usize = 16;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstreams {
    /// Those in a file in the form of `/etc/resolv.conf`, read anew for each question,
    /// because a host changes networks.
    File(PathBuf),
    /// These, up to three.
    Given(Vec<SocketAddr>),
}

impl Upstreams {
    /// Whom to ask now.
    ///
    /// # Errors
    ///
    /// Those of reading the file.
    pub(crate) fn now(&self) -> io::Result<Vec<SocketAddr>> {
        let mut all = match self {
            Self::Given(all) => all.clone(),
            Self::File(path) => {
                use io::Read as _;
                let mut text = String::new();
                std::fs::File::open(path)?.take(LIST_BYTES_MAX).read_to_string(&mut text)?;
                parse(&text)
            }
        };
        all.truncate(UPSTREAMS_MAX);
        Ok(all)
    }
}

/// The `nameserver` lines of a resolv.conf.
fn parse(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()).flatten()
    });
    // An address may carry a zone; a resolver on a link-local address is not asked.
    lines.filter_map(|word| Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, 53))).collect()
}

/// Asks until somebody answers; `None` when nobody does in time.
pub(super) async fn ask(upstreams: &Upstreams, asked: &Asked) -> Option<Message> {
    let all =
        upstreams.now().inspect_err(|error| tracing::warn!(%error, "could not read whom to ask for names")).ok()?;
    timeout(ANSWER_WITHIN, in_turn(&all, asked)).await.ok().flatten()
}

async fn in_turn(all: &[SocketAddr], asked: &Asked) -> Option<Message> {
    for upstream in all.iter().cycle().take(all.len() * ROUNDS) {
        match timeout(TRY_WITHIN, one(*upstream, asked)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%upstream, %error, "a resolver did not answer"),
            Err(_) => tracing::debug!(%upstream, "a resolver took too long"),
        }
    }
    None
}

async fn one(upstream: SocketAddr, asked: &Asked) -> io::Result<Message> {
    let question = asked.question();
    let answer = by_udp(upstream, &question).await?;
    if answer.metadata.truncation { by_tcp(upstream, &question).await } else { Ok(answer) }
}

async fn by_udp(upstream: SocketAddr, question: &Message) -> io::Result<Message> {
    let any: IpAddr = if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of its own for each question; connected, the kernel drops strangers.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(&question.to_vec().map_err(io::Error::other)?).await?;
    let mut buffer = vec![0; usize::from(UDP_ANSWER_MAX) * 4];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut buffer).await?;
        let answer = Message::from_vec(&buffer[..length]).ok();
        if let Some(answer) = answer.filter(|answer| is_answer_to(answer, question)) {
            return Ok(answer);
        }
    }
    Err(io::Error::other("nothing but strays came"))
}

async fn by_tcp(upstream: SocketAddr, question: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(upstream).await?;
    write_framed(&mut stream, &question.to_vec().map_err(io::Error::other)?).await?;
    let bytes = read_framed(&mut stream, TCP_ANSWER_MAX).await?;
    let answer = Message::from_vec(&bytes).map_err(io::Error::other)?;
    if is_answer_to(&answer, question) { Ok(answer) } else { Err(io::Error::other("the answer is to something else")) }
}

/// Writes a message with its length before it.
pub(super) async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}

/// Reads a message with its length before it.
pub(super) async fn read_framed(stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > most {
        return Err(io::Error::other("the message is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_resolvers_is_read_as_the_c_library_does() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 127.0.0.53\n nameserver\t2620:fe::fe \nnameserver\nnameserver fe80::1%eth0\nnameservers 9.9.9.9\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53:53", "[2620:fe::fe]:53"]);
    }
}
