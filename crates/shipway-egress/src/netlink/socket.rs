//! A netlink socket: one question, one answer, and nothing waits for ever.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::{DUMP, Message};

/// How long the kernel may take over one answer. It answers within milliseconds; a
/// deletion of many links may hold its lock for a few seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Room for the largest batch: rules of a few thousand containers.
const SEND_BUFFER: usize = 32 << 20;
/// Room for acknowledgements and dumps on their way to us.
const RECEIVE_BUFFER: usize = 4 << 20;
/// A dump is told again when its subject changed meanwhile; this often at most.
const DUMP_TRIES: usize = 8;

const DONE: u16 = 3;
const ERROR: u16 = 2;
const ACK: u16 = 4;
const MULTI: u16 = 2;
const INTERRUPTED: u16 = 0x10;

/// What the kernel said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{errno}")]
pub(crate) struct NetlinkError {
    /// Its error.
    pub(crate) errno: Errno,
    /// Which message of a batch it was about, counted from 0.
    pub(crate) index: usize,
}

impl From<Errno> for NetlinkError {
    fn from(errno: Errno) -> Self {
        Self { errno, index: 0 }
    }
}

/// A socket of one netlink protocol in the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message received.
struct Received {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: Vec<u8>,
}

impl Socket {
    /// Opens one; `None` speaks of links, addresses and routes.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        // The forced form needs a privilege we have; without it small batches still pass.
        if sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER).is_err() {
            sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER)?;
        }
        if sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER)?;
        }
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
        Ok(Self { fd, sequence: 1, buffer: vec![0; 64 << 10] })
    }

    /// Its address, by which others can tell what it did.
    pub(crate) fn port(&self) -> io::Result<u32> {
        let address = rustix::net::getsockname(&self.fd)?;
        Ok(SocketAddrNetlink::try_from(address)?.pid())
    }

    /// Has one thing done.
    pub(crate) fn ask(&mut self, message: &Message) -> Result<(), NetlinkError> {
        let sequence = self.send_one(message, ACK)?;
        loop {
            for received in self.receive()? {
                if received.sequence == sequence && received.kind == ERROR {
                    return answer_of(&received).map_err(NetlinkError::from);
                }
            }
        }
    }

    /// Asks for one thing, or with [`DUMP`] for all: the bodies of the answers.
    pub(crate) fn get(&mut self, message: &Message) -> Result<Vec<Vec<u8>>, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            if let Some(bodies) = self.get_once(message)? {
                return Ok(bodies);
            }
        }
        Err(Errno::INTR.into())
    }

    /// One try; `None` when the kernel says that the dump is not of one moment.
    fn get_once(&mut self, message: &Message) -> Result<Option<Vec<Vec<u8>>>, NetlinkError> {
        let dump = message.flags & DUMP == DUMP;
        let sequence = self.send_one(message, 0)?;
        let (mut bodies, mut whole) = (Vec::new(), true);
        loop {
            for received in self.receive()?.into_iter().filter(|received| received.sequence == sequence) {
                whole &= received.flags & INTERRUPTED == 0;
                match received.kind {
                    ERROR => {
                        answer_of(&received)?;
                        return Ok(Some(bodies));
                    }
                    DONE => return Ok(whole.then_some(bodies)),
                    _ => bodies.push(received.body),
                }
                if !dump && received.flags & MULTI == 0 {
                    return Ok(Some(bodies));
                }
            }
        }
    }

    /// Has all of it done or nothing, in one transaction of `nf_tables`.
    pub(crate) fn batch(&mut self, messages: &[Message]) -> Result<(), NetlinkError> {
        let Some(last) = messages.len().checked_sub(1) else { return Ok(()) };
        let first = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        let edge = |kind| Message { kind, flags: 0, body: vec![0, 0, 0, 10] };
        edge(0x10).write(self.next(), 0, &mut out);
        for (index, message) in messages.iter().enumerate() {
            message.write(self.next(), if index == last { ACK } else { 0 }, &mut out);
        }
        edge(0x11).write(self.next(), 0, &mut out);
        rustix::net::send(&self.fd, &out, SendFlags::empty())?;
        self.batch_answer(first, messages.len())
    }

    /// Errors come in the order of the messages and end with the answer to the last.
    fn batch_answer(&mut self, first: u32, count: usize) -> Result<(), NetlinkError> {
        let mut failed = None;
        loop {
            for received in self.receive()?.into_iter().filter(|received| received.kind == ERROR) {
                let place = received.sequence.wrapping_sub(first) as usize;
                let answer = answer_of(&received);
                // Sequence numbers of the opening message: the transaction as a whole.
                if received.sequence == first.wrapping_sub(1) {
                    return answer.map_err(NetlinkError::from);
                }
                if place >= count {
                    continue;
                }
                if let Err(errno) = answer {
                    failed.get_or_insert(NetlinkError { errno, index: place });
                }
                if place == count - 1 {
                    return failed.map_or(Ok(()), Err);
                }
            }
        }
    }

    fn next(&mut self) -> u32 {
        let now = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        now
    }

    fn send_one(&mut self, message: &Message, extra: u16) -> Result<u32, Errno> {
        let sequence = self.next();
        let mut out = Vec::new();
        message.write(sequence, extra, &mut out);
        rustix::net::send(&self.fd, &out, SendFlags::empty())?;
        Ok(sequence)
    }

    fn receive(&mut self) -> Result<Vec<Received>, Errno> {
        let buffer = self.buffer.as_mut_slice();
        let (length, _) = rustix::io::retry_on_intr(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()))?;
        Ok(split(&self.buffer[..length.min(self.buffer.len())]))
    }
}

fn split(mut bytes: &[u8]) -> Vec<Received> {
    let mut all = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<16>() {
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let length = word(0) as usize;
        let Some(body) = bytes.get(16..length) else { break };
        all.push(Received { kind: half(4), flags: half(6), sequence: word(8), body: body.to_vec() });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    all
}

fn answer_of(received: &Received) -> Result<(), Errno> {
    let code = received.body.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(code.wrapping_neg())) }
}
