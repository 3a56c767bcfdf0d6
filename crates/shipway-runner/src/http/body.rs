//! Where the bytes of a request's body are.
//!
//! A [`Body`] remembers how far it has read and never holds a byte itself: the
//! caller keeps a bounded buffer, asks [`Body::next`] what stands at its
//! beginning, passes on as much data as the script takes, and tells how much
//! that was. So a script that does not read stops the client that sends.

use super::head::{Framing, Refusal};

/// Longest line of a chunk's size with its extensions. Nobody uses extensions;
/// attackers send megabytes of them.
const SIZE_LINE_MAX: usize = 256;

/// Longest trailer section. It is read and dropped.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// How far a request's body has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(State);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Done,
    /// So many bytes are still to come.
    Length(u64),
    /// The next line is a chunk's size.
    Size,
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// The CR LF after a chunk's data comes next.
    ChunkEnd,
    /// Trailer lines, of which so many bytes have been read.
    Trailers(usize),
}

/// What stands at the beginning of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The body is complete; what follows is the next request.
    Done,
    /// So many bytes of data.
    Data(usize),
    /// So many bytes of framing, to be dropped; the body has already taken note.
    Framing(usize),
    /// More bytes are needed.
    Wait,
}

impl Body {
    /// Begins a body.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
        })
    }

    /// Whether every byte of it has been consumed.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Says what stands at the beginning of `bytes`.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when chunked framing is broken.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        match self.0 {
            State::Done => Ok(Piece::Done),
            _ if bytes.is_empty() => Ok(Piece::Wait),
            State::Length(left) | State::Chunk(left) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX);
                Ok(Piece::Data(here.min(bytes.len())))
            }
            State::Size => self.read_size(bytes),
            State::ChunkEnd => self.read_chunk_end(bytes),
            State::Trailers(read) => self.read_trailer(bytes, read),
        }
    }

    /// Takes note that `count` bytes of data were passed on.
    pub fn consume(&mut self, count: usize) {
        let count = count as u64;
        self.0 = match self.0 {
            State::Length(left) if left <= count => State::Done,
            State::Length(left) => State::Length(left - count),
            State::Chunk(left) if left <= count => State::ChunkEnd,
            State::Chunk(left) => State::Chunk(left - count),
            ref other => other.clone(),
        };
    }

    fn read_size(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        let Some(line) = find_line(bytes, SIZE_LINE_MAX)? else {
            return Ok(Piece::Wait);
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = line[digits..].trim_ascii_start();
        if !(1..=16).contains(&digits) || !(rest.is_empty() || rest[0] == b';') {
            return Err(broken());
        }
        let size = std::str::from_utf8(&line[..digits])
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(broken)?;
        self.0 = if size == 0 { State::Trailers(0) } else { State::Chunk(size) };
        Ok(Piece::Framing(line.len() + 2))
    }

    fn read_chunk_end(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.0 = State::Size;
                Ok(Piece::Framing(2))
            }
            [b'\r'] => Ok(Piece::Wait),
            _ => Err(broken()),
        }
    }

    fn read_trailer(&mut self, bytes: &[u8], read: usize) -> Result<Piece, Refusal> {
        let Some(line) = find_line(bytes, TRAILER_BYTES_MAX - read)? else {
            return Ok(Piece::Wait);
        };
        self.0 = if line.is_empty() { State::Done } else { State::Trailers(read + line.len() + 2) };
        Ok(Piece::Framing(line.len() + 2))
    }
}

const fn broken() -> Refusal {
    Refusal { status: 400, reason: "the chunked body is malformed" }
}

/// Returns the first line without its CR LF, or `None` when its end is not here.
fn find_line(bytes: &[u8], most: usize) -> Result<Option<&[u8]>, Refusal> {
    let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() > most { Err(broken()) } else { Ok(None) };
    };
    match (at > most, bytes[at], bytes.get(at + 1)) {
        (false, b'\r', None) => Ok(None),
        (false, b'\r', Some(b'\n')) => Ok(Some(&bytes[..at])),
        _ => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire` in pieces of `step` bytes; returns the data and what is left over.
    fn read(framing: Framing, wire: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
        let (mut body, mut buffer, mut data) = (Body::new(framing), Vec::new(), Vec::new());
        let mut arriving = wire.chunks(step);
        loop {
            match body.next(&buffer)? {
                Piece::Done => {
                    buffer.extend(arriving.flatten());
                    return Ok((data, buffer));
                }
                Piece::Data(count) => {
                    data.extend(buffer.drain(..count));
                    body.consume(count);
                }
                Piece::Framing(count) => drop(buffer.drain(..count)),
                Piece::Wait => buffer.extend(arriving.next().expect("the body never ends")),
            }
        }
    }

    #[test]
    fn bodies_end_where_they_say_however_they_arrive() {
        let chunked = b"5\r\nhello\r\nA ;x=y\r\n, chunked!\r\n0\r\nTrailer: 1\r\n\r\nGET";
        for step in 1..chunked.len() {
            let (data, rest) = read(Framing::Chunked, chunked, step).unwrap();
            assert_eq!((data.as_slice(), rest.as_slice()), (&b"hello, chunked!"[..], &b"GET"[..]));
            let (data, rest) = read(Framing::Length(5), b"helloGET", step).unwrap();
            assert_eq!((data.as_slice(), rest.as_slice()), (&b"hello"[..], &b"GET"[..]));
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"1\na\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n0\r\n",
            b"11111111111111111\r\n",
            b"1 x\r\n",
            b"0\r\nTrailer: 1\n\r\n",
            &[b'1'; SIZE_LINE_MAX + 1],
        ] {
            assert_eq!(read(Framing::Chunked, wire, 3), Err(broken()), "{wire:?}");
        }
    }

    #[test]
    fn trailers_are_bounded() {
        let line = format!("X: {}\r\n", "a".repeat(1000));
        let wire = format!("0\r\n{}\r\n", line.repeat(9));
        assert_eq!(read(Framing::Chunked, wire.as_bytes(), 4096), Err(broken()));
    }
}
