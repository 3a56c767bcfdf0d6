//! Which proxy answered what, for which module.

use std::fmt;

/// A question that got no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyError {
    /// What was asked: `x.com/a/@v/list`.
    pub asked: String,
    /// What it comes down to.
    pub failure: Failure,
    /// Each proxy that was asked, in order.
    pub tried: Vec<Tried>,
}

/// One proxy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The proxy's address without credentials.
    pub proxy: String,
    /// What this answer means.
    pub failure: Failure,
    /// The answer in words: `404 Not Found: unknown revision`.
    pub answer: String,
}

/// What an answer means. From the one that says least about tomorrow to the one that says most,
/// so that of several the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// It is not there: 404, 410, no such file.
    NotFound,
    /// The proxy will not serve it (403, and every other 4xx that is not about time). Permanent.
    Refused,
    /// Something is there and it is wrong: malformed, too large, another version. Permanent
    /// until somebody mends the proxy.
    Broken,
    /// Away, slow or in trouble (5xx, 429, 408): another time it may answer.
    Unavailable,
}

impl ProxyError {
    /// An answer of one proxy that came, but cannot be used.
    pub(crate) fn broken(asked: impl fmt::Display, proxy: &str, answer: impl Into<String>) -> Self {
        let tried = Tried { proxy: proxy.to_owned(), failure: Failure::Broken, answer: answer.into() };
        Self { asked: asked.to_string(), failure: Failure::Broken, tried: vec![tried] }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.failure {
            Failure::NotFound => "not found",
            Failure::Refused => "refused by the module proxy",
            Failure::Broken => "the module proxy's answer cannot be used",
            Failure::Unavailable => "the module proxy cannot be reached or is in trouble",
        };
        write!(f, "{}: {verdict}", self.asked)?;
        for (at, tried) in self.tried.iter().enumerate() {
            write!(f, "{}{tried}", if at == 0 { " (" } else { "; " })?;
        }
        if self.tried.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.proxy, self.answer)
    }
}

impl std::error::Error for ProxyError {}

/// Takes a proxy's own words into an error: one line, printable, bounded.
pub(super) fn quoted(body: &[u8]) -> String {
    const WORDS_CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(body);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|letter| !letter.is_control()).take(WORDS_CHARS_MAX).collect()
}
