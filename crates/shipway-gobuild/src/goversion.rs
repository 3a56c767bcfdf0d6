//! Versions of Go itself: `1.21`, `1.26.8`, `1.27rc1`, and which is newer.

use std::cmp::Ordering;
use std::fmt;

/// Longest text taken for a version.
const TEXT_BYTES_MAX: usize = 32;

/// A version of Go. `1.21` is the language, older than its first release candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoVersion {
    text: String,
    /// Major, minor; then patch, where there is one.
    numbers: [u32; 3],
    stage: Stage,
}

/// In the order in which they come. A bare `1.21` was a release once; since 1.21 the first
/// release is `1.21.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Language,
    Beta(u32),
    Candidate(u32),
    Release,
}

impl GoVersion {
    /// Reads `1.26.8`, or `go1.26.8` as the go command has it, and leaves out a vendor's word
    /// behind a space or dash. `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("go").unwrap_or(text);
        let text = text.split([' ', '-', '+']).next().filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        let mut parts = text.splitn(3, '.');
        let major = number(parts.next()?)?;
        let (minor, patch) = (parts.next()?, parts.next());
        let (minor, stage) = staged(minor)?;
        let (patch, stage) = match (patch, stage) {
            (None, stage) => (0, stage),
            (Some(patch), Stage::Language) => (number(patch)?, Stage::Release),
            (Some(_), _) => return None,
        };
        Some(Self { text: text.to_owned(), numbers: [major, minor, patch], stage })
    }

    /// The version without `go` before it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Major and minor.
    #[must_use]
    pub const fn language(&self) -> (u32, u32) {
        (self.numbers[0], self.numbers[1])
    }
}

fn staged(minor: &str) -> Option<(u32, Stage)> {
    if let Some((minor, count)) = minor.split_once("rc") {
        return Some((number(minor)?, Stage::Candidate(number(count)?)));
    }
    if let Some((minor, count)) = minor.split_once("beta") {
        return Some((number(minor)?, Stage::Beta(number(count)?)));
    }
    Some((number(minor)?, Stage::Language))
}

fn number(text: &str) -> Option<u32> {
    let plain = crate::module::is_digits(text) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

impl Ord for GoVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.numbers[0], it.numbers[1], it.stage, it.numbers[2]);
        key(self).cmp(&key(other)).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for GoVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_this_order() {
        let order = ["1.9", "1.20", "1.21", "1.21beta1", "1.21rc2", "1.21rc10", "1.21.0", "1.21.3", "1.26.8", "1.99"];
        let versions: Vec<GoVersion> = order.iter().map(|text| GoVersion::parse(text).unwrap()).collect();
        assert!(versions.is_sorted(), "{versions:?}");
    }

    #[test]
    fn only_versions_are_read() {
        let read = |text: &str| GoVersion::parse(text).map(|version| version.to_string());
        assert_eq!(read("go1.26.8").as_deref(), Some("1.26.8"));
        assert_eq!(read("go1.26.8 X:nogreenteagc").as_deref(), Some("1.26.8"));
        for text in ["", "go", "1", "devel", "1.x", "1.21.0rc1", "1.21rc", "1.021", "1.21.", "1.2.3.4", "99999999999.1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
