//! Every request head and every chunk is looked at before hyper sees it.
//!
//! hyper answers 200 to a repeated `Host`, to Content-Length beside
//! Transfer-Encoding and to a bare line feed. Each of those can mean one thing
//! to us and another to the service behind, and that difference is how requests
//! are smuggled. So a second pair of eyes follows the framing of the request
//! stream, byte for byte, and passes on only what can be read in one way.
//!
//! ```text
//!            blank line        head ok, no body
//!          ┌────────────┐   ┌───────────────────┐
//!          ▼            │   ▼                   │
//!       boundary ─────► head ──► length ──► boundary
//!                        │ └───► chunked ─────► │
//!                        └─────► switching ──► tunnel   (the answer was 101)
//!                                    └───────► boundary (it was not)
//! ```
//!
//! [`Guard`] is pure: bytes in, how many of them may pass out. It keeps no bytes;
//! what may not pass yet is shown to it again with more behind it.
//! [`stream::Guarded`] is the stream around it.

mod chunks;
mod gate;
mod head;
pub(crate) mod stream;

use chunks::Chunks;
pub(crate) use gate::Gate;
pub(crate) use head::{FIELDS_MAX, HEAD_BYTES_MAX, find_end};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a line of the request ends without a carriage return")]
    BareLineFeed,
    #[error("a header is folded over several lines")]
    Folded,
    #[error("the request line or a header is malformed")]
    Malformed,
    #[error("the request's HTTP version is not supported")]
    Version,
    #[error("the method CONNECT is not supported")]
    Connect,
    #[error("the request has no Host")]
    HostMissing,
    #[error("the request has more than one Host")]
    HostRepeated,
    #[error("the Host is not valid")]
    HostInvalid,
    #[error("Content-Length is not one plain number")]
    Length,
    #[error("Transfer-Encoding is not exactly `chunked`")]
    Encoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    EncodingVersion,
    #[error("Content-Length and Transfer-Encoding in one request")]
    LengthAndEncoding,
    #[error("the request's header block is larger than 64 KiB")]
    HeadTooLarge,
    #[error("the request has more than 100 headers")]
    TooManyFields,
    #[error("a chunk of the request's body is malformed")]
    Chunk,
    #[error("the request's head did not arrive in time")]
    HeadTimeout,
}

impl Refusal {
    /// The status it is answered with.
    pub(crate) const fn status(self) -> http::StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => http::StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect => http::StatusCode::METHOD_NOT_ALLOWED,
            Self::HeadTimeout => http::StatusCode::REQUEST_TIMEOUT,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

/// How the bytes after a head are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The next request follows at once.
    Empty,
    /// This many bytes of body.
    Length(u64),
    /// Chunks and trailers.
    Chunked,
    /// Nobody knows before the answer: another protocol is asked for.
    Upgrade,
}

/// What [`Guard::inspect`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// This many bytes from the start may be passed on; show the rest again.
    pub(crate) pass: usize,
    /// What follows them is refused, and so is all after it.
    pub(crate) refusal: Option<Refusal>,
}

/// Where in the request stream we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two requests, or inside a head of which this much was searched for its end.
    Head {
        searched: usize,
    },
    Length {
        left: u64,
    },
    Chunked(Chunks),
    /// Nothing may pass before the upgrade is decided.
    Switching,
    /// Another protocol: everything passes.
    Tunnel,
    Refused,
}

/// Follows one connection's requests.
#[derive(Debug)]
pub(crate) struct Guard {
    state: State,
    heads: u64,
}

impl Guard {
    pub(crate) const fn new() -> Self {
        Self { state: State::Head { searched: 0 }, heads: 0 }
    }

    /// Heads passed so far; the number of the request being read, counted from 1.
    pub(crate) const fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head, or nothing yet, is being read.
    pub(crate) const fn is_before_body(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Whether an upgrade waits for [`Guard::decide`].
    pub(crate) const fn is_switching(&self) -> bool {
        matches!(self.state, State::Switching)
    }

    /// Whether everything passes.
    pub(crate) const fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
    }

    /// Says whether the upgrade was answered with 101.
    pub(crate) fn decide(&mut self, upgraded: bool) {
        if self.is_switching() {
            self.state = if upgraded { State::Tunnel } else { State::Head { searched: 0 } };
        }
    }

    /// Looks at all bytes not passed yet.
    pub(crate) fn inspect(&mut self, bytes: &[u8]) -> Verdict {
        let mut pass = 0;
        loop {
            match self.step(&bytes[pass..]) {
                Ok(0) => return Verdict { pass, refusal: None },
                Ok(count) => pass += count,
                Err(refusal) => {
                    self.state = State::Refused;
                    let refusal = Some(refusal);
                    return Verdict { pass, refusal };
                }
            }
        }
    }

    /// Passes some bytes, or 0 when more are needed (or a decision is).
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match &mut self.state {
            State::Head { searched } => {
                let Some(length) = find_end(bytes, searched)? else {
                    return Ok(0);
                };
                let framing = head::check(&bytes[..length])?;
                self.heads += 1;
                self.state = after_head(framing);
                Ok(length)
            }
            State::Length { left } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::Head { searched: 0 };
                }
                Ok(count)
            }
            State::Chunked(chunks) => {
                let (count, is_end) = chunks.follow(bytes)?;
                if is_end {
                    self.state = State::Head { searched: 0 };
                }
                Ok(count)
            }
            State::Tunnel => Ok(bytes.len()),
            State::Switching | State::Refused => Ok(0),
        }
    }
}

const fn after_head(framing: Framing) -> State {
    match framing {
        Framing::Empty | Framing::Length(0) => State::Head { searched: 0 },
        Framing::Length(left) => State::Length { left },
        Framing::Chunked => State::Chunked(Chunks::new()),
        Framing::Upgrade => State::Switching,
    }
}

#[cfg(test)]
mod tests;
