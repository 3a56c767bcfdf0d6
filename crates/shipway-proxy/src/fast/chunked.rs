//! A service's chunked body, taken out of its chunks.
//!
//! As lenient as hyper is with services: blanks after a size and extensions pass,
//! because the visitor gets chunks of ours. Trailers are dropped: no request on
//! this path says that its sender wants them (RFC 9110 §6.5.1).

/// Most bytes of extensions and trailers in one body.
const EXTRA_MAX: usize = 16 * 1024;

/// Most hexadecimal digits of a size; so many always fit a `u64`.
const DIGITS_MAX: u8 = 15;

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk: its size while that is read, then what is left of it.
    size: u64,
    digits: u8,
    extra: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Blank,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    LineStart,
    Line,
    LineFeed,
    LastFeed,
    End,
}

/// What one piece of a body had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// This many bytes of data stand at the front now.
    pub(super) data: usize,
    /// This many bytes were looked at; what follows them is not the body's.
    pub(super) used: usize,
    /// Whether the body has ended.
    pub(super) is_end: bool,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { at: At::Size, size: 0, digits: 0, extra: 0 }
    }

    /// Moves the data in `bytes` to their front. `None`: these are no chunks.
    pub(super) fn unpack(&mut self, bytes: &mut [u8]) -> Option<Unpacked> {
        let (mut data, mut used) = (0, 0);
        while used < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - used);
                bytes.copy_within(used..used + count, data);
                data += count;
                used += count;
                self.size -= count as u64;
                if self.size == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            self.at = self.after(bytes[used])?;
            used += 1;
        }
        Some(Unpacked { data, used, is_end: self.at == At::End })
    }

    /// Where one byte leads, or `None` when it may not stand here.
    fn after(&mut self, byte: u8) -> Option<At> {
        match (self.at, byte) {
            (At::Size, b) if b.is_ascii_hexdigit() => self.digit(b),
            (At::Size | At::Blank, b';') if self.digits > 0 => Some(At::Extension),
            (At::Size | At::Blank, b'\r') if self.digits > 0 => Some(At::SizeFeed),
            (At::Size | At::Blank, b' ' | b'\t') if self.digits > 0 => self.more(At::Blank),
            (At::Extension, b'\r') => Some(At::SizeFeed),
            (At::Extension, b) if b != b'\n' => self.more(At::Extension),
            (At::SizeFeed, b'\n') => Some(self.begin()),
            (At::DataReturn, b'\r') => Some(At::DataFeed),
            (At::DataFeed, b'\n') => Some(At::Size),
            (At::LineStart, b'\r') => Some(At::LastFeed),
            (At::Line, b'\r') => Some(At::LineFeed),
            (At::LineStart | At::Line, b) if b != b'\n' => self.more(At::Line),
            (At::LineFeed, b'\n') => Some(At::LineStart),
            (At::LastFeed, b'\n') => Some(At::End),
            _ => None,
        }
    }

    fn digit(&mut self, byte: u8) -> Option<At> {
        self.digits += 1;
        self.size = self.size * 16 + u64::from(char::from(byte).to_digit(16)?);
        (self.digits <= DIGITS_MAX).then_some(At::Size)
    }

    fn more(&mut self, next: At) -> Option<At> {
        self.extra += 1;
        (self.extra <= EXTRA_MAX).then_some(next)
    }

    const fn begin(&mut self) -> At {
        self.digits = 0;
        if self.size == 0 { At::LineStart } else { At::Data }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All data of `body`, fed in the given pieces; `None` when refused.
    fn unpack(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize, bool)> {
        let (mut chunks, mut data, mut used, mut is_end) = (Chunks::new(), Vec::new(), 0, false);
        for piece in pieces {
            let mut piece = piece.to_vec();
            let unpacked = chunks.unpack(&mut piece)?;
            data.extend_from_slice(&piece[..unpacked.data]);
            used += unpacked.used;
            is_end = unpacked.is_end;
        }
        Some((data, used, is_end))
    }

    #[test]
    fn data_comes_out_and_what_follows_is_left() {
        let body = b"5\r\nhello\r\n6 \t;x=\"y\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1 200 OK";
        let (data, used, is_end) = unpack(&[body]).unwrap();
        assert_eq!((data.as_slice(), is_end), (&b"hello world"[..], true));
        assert!(body[used..].starts_with(b"HTTP/1.1"));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in
            ["x\r\n", "\r\n", "5\nhello", "5\r\nhelloX", "5\r\nhello\n", " 5\r\n", "-5\r\n", "1234567890123456\r\n"]
        {
            assert_eq!(unpack(&[bad.as_bytes()]), None, "{bad:?}");
        }
        let long = format!("5;{}\r\n", "x".repeat(EXTRA_MAX + 1));
        assert_eq!(unpack(&[long.as_bytes()]), None);
        let trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(EXTRA_MAX / 4 + 1));
        assert_eq!(unpack(&[trailers.as_bytes()]), None);
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            at.extend([0, body.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let expected = (chunks.concat(), body.len(), true);
            prop_assert_eq!(unpack(&pieces), Some(expected.clone()));
            prop_assert_eq!(unpack(&[&body]), Some(expected));
        }
    }
}
