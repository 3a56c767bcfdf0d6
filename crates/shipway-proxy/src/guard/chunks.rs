//! The chunked encoding, followed byte by byte and strictly (RFC 9112 §7.1).
//!
//! Refused, though many parsers take it: a line ended by a bare line feed, space
//! around a size, control characters in an extension, a folded trailer.

use super::Refusal;

/// Most hexadecimal digits of a chunk's size; so many always fit a `u64`.
const SIZE_DIGITS_MAX: u8 = 15;

/// Most bytes of chunk extensions in one body. They carry nothing anybody uses.
const EXTENSIONS_MAX: u16 = 4096;

/// Most bytes of trailers, and most trailer fields.
const TRAILERS_MAX: u16 = 8192;
const TRAILER_FIELDS_MAX: u8 = 64;

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk: its size while that is read, then what is left of it.
    size: u64,
    digits: u8,
    extensions: u16,
    trailers: u16,
    fields: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    LineStart,
    Name,
    Value,
    ValueFeed,
    LastFeed,
    End,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { at: At::Size, size: 0, digits: 0, extensions: 0, trailers: 0, fields: 0 }
    }

    /// Follows `bytes`; returns how many belong to this body and whether it ended.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut done = 0;
        while done < bytes.len() {
            if self.at == At::Data {
                let rest = bytes.len() - done;
                let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest);
                done += count;
                self.size -= count as u64;
                if self.size == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            self.at = self.after(bytes[done]).ok_or(Refusal::Chunk)?;
            done += 1;
            if self.at == At::End {
                return Ok((done, true));
            }
        }
        Ok((done, false))
    }

    /// Where one byte leads, or `None` when it may not stand here.
    fn after(&mut self, byte: u8) -> Option<At> {
        match (self.at, byte) {
            (At::Size, b) if b.is_ascii_hexdigit() => self.digit(b),
            (At::Size, b';') if self.digits > 0 => Some(At::Extension),
            (At::Size, b'\r') if self.digits > 0 => Some(At::SizeFeed),
            (At::Extension, b'\r') => Some(At::SizeFeed),
            (At::Extension, b) => self.extension(b),
            (At::SizeFeed, b'\n') => Some(self.begin_chunk()),
            (At::DataReturn, b'\r') => Some(At::DataFeed),
            (At::DataFeed, b'\n') => Some(At::Size),
            (At::LineStart, b'\r') => Some(At::LastFeed),
            (At::LineStart, b) if is_token(b) => self.trailer(At::Name, 1),
            (At::Name, b':') => self.trailer(At::Value, 0),
            (At::Name, b) if is_token(b) => self.trailer(At::Name, 0),
            (At::Value, b'\r') => Some(At::ValueFeed),
            (At::Value, b) if is_text(b) => self.trailer(At::Value, 0),
            (At::ValueFeed, b'\n') => Some(At::LineStart),
            (At::LastFeed, b'\n') => Some(At::End),
            _ => None,
        }
    }

    fn digit(&mut self, byte: u8) -> Option<At> {
        let value = char::from(byte).to_digit(16)?;
        self.digits += 1;
        self.size = self.size * 16 + u64::from(value);
        (self.digits <= SIZE_DIGITS_MAX).then_some(At::Size)
    }

    fn extension(&mut self, byte: u8) -> Option<At> {
        self.extensions += 1;
        (is_text(byte) && self.extensions <= EXTENSIONS_MAX).then_some(At::Extension)
    }

    const fn begin_chunk(&mut self) -> At {
        self.digits = 0;
        if self.size == 0 { At::LineStart } else { At::Data }
    }

    fn trailer(&mut self, next: At, fields: u8) -> Option<At> {
        self.trailers += 1;
        self.fields += fields;
        let fits = self.trailers <= TRAILERS_MAX && self.fields <= TRAILER_FIELDS_MAX;
        fits.then_some(next)
    }
}

/// What a field's name is made of (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// What a field's value is made of.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}
