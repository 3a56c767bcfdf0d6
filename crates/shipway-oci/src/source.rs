//! The archive's bytes, out of whatever it is wrapped in, and never too many.
//!
//! ```text
//! input ─► counted (what went in) ─► gzip | Zstandard | plain ─► bounded (what came out)
//! ```
//!
//! Which wrapping it is, the first bytes tell, not a name. Reading fails as
//! `std::io::Error`s do, and `tar` makes further ones of its own; so what really
//! happened is noted here and asked for afterwards.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::UnpackLimits;
use crate::rule::{Rule, UnpackError, broken};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Zstandard's window, as a power of two: 128 MiB is what `zstd -d` takes unless told
/// (RFC 8878 §3.1.1.1.2 lets it be 3.75 TB).
const WINDOW_LOG_MAX: u32 = 27;
const BUFFER_BYTES: usize = 128 << 10;

/// What went wrong below, if anything.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// A limit was passed.
    rule: Cell<Option<Rule>>,
    /// The input itself failed.
    input: RefCell<Option<io::Error>>,
    /// Somebody read to the very end.
    pub(crate) ended: Cell<bool>,
}

impl Trouble {
    /// Turns an error that came up through the readers into what it was.
    pub(crate) fn explain(&self, error: &io::Error) -> UnpackError {
        if let Some(source) = self.input.take() {
            return UnpackError::Read(source);
        }
        if let Some(rule) = self.rule.get() {
            return broken(rule);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => broken(Rule::Truncated),
            // The words of `tar`; its kind is `Other` for everything.
            _ if ["unexpected EOF", "entire block"].iter().any(|words| error.to_string().contains(words)) => {
                broken(Rule::Truncated)
            }
            _ => broken(Rule::Format),
        }
    }
}

/// Opens an archive: `input` as it came.
pub(crate) fn open<'a>(
    input: impl Read + 'a,
    limits: &UnpackLimits,
    trouble: &Rc<Trouble>,
) -> Result<Box<dyn Read + 'a>, UnpackError> {
    let taken = Rc::new(Cell::new(0));
    let counted = Counted { input, taken: Rc::clone(&taken), trouble: Rc::clone(trouble) };
    let mut counted = BufReader::with_capacity(BUFFER_BYTES, counted);
    let magic: Vec<u8> = counted.fill_buf().map_err(|error| trouble.explain(&error))?.iter().take(4).copied().collect();
    let (plain, wrapped): (Box<dyn Read + 'a>, bool) = if magic.starts_with(&GZIP) {
        (Box::new(MultiGzDecoder::new(counted)), true)
    } else if magic.starts_with(&ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(counted).map_err(|e| trouble.explain(&e))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| trouble.explain(&error))?;
        (Box::new(decoder), true)
    } else {
        (Box::new(counted), false)
    };
    let bounded = Bounded {
        plain,
        given: 0,
        taken,
        stream_max: limits.stream_max,
        ratio: wrapped.then_some((limits.ratio_max, limits.ratio_free)),
        trouble: Rc::clone(trouble),
    };
    let buffered = BufReader::with_capacity(BUFFER_BYTES, bounded);
    Ok(Box::new(Watched { plain: buffered, trouble: Rc::clone(trouble) }))
}

/// Notices the end. `tar` does not tell an archive that says it is over from one that
/// was cut between two entries.
struct Watched<R> {
    plain: R,
    trouble: Rc<Trouble>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(into)?;
        if read == 0 && !into.is_empty() {
            self.trouble.ended.set(true);
        }
        Ok(read)
    }
}

/// Counts what the decoder took, and keeps the input's own errors apart from its.
struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
    trouble: Rc<Trouble>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into) {
            Ok(read) => {
                self.taken.set(self.taken.get() + read as u64);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.trouble.input.replace(Some(error));
                Err(io::Error::other("the archive cannot be read"))
            }
        }
    }
}

/// Ends what comes out before there is too much of it.
struct Bounded<'a> {
    plain: Box<dyn Read + 'a>,
    given: u64,
    taken: Rc<Cell<u64>>,
    stream_max: u64,
    /// Most times, and from when on.
    ratio: Option<(u64, u64)>,
    trouble: Rc<Trouble>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(into)?;
        self.given += read as u64;
        if let Some(rule) = self.broken() {
            self.trouble.rule.set(Some(rule));
            return Err(io::Error::other("past a limit"));
        }
        Ok(read)
    }
}

impl Bounded<'_> {
    fn broken(&self) -> Option<Rule> {
        let too_much = |(most, free)| self.given > free && self.given / self.taken.get().max(1) > most;
        if self.given > self.stream_max {
            return Some(Rule::Bytes);
        }
        self.ratio.is_some_and(too_much).then_some(Rule::Ratio)
    }
}
