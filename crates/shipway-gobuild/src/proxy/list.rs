//! `GOPROXY`: proxies in order, and when the next one is asked.

use std::fmt;

use thiserror::Error;
use url::Url;

/// Most proxies of one list; each may cost a time limit.
const PROXIES_MAX: usize = 16;

/// Proxies in order. Shown without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyList(Vec<Entry>);

/// One proxy, and after which answers the one behind it is asked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) url: Url,
    /// A `|` follows: any failure goes on, not only *not found*.
    pub(super) any_failure_goes_on: bool,
}

/// Why a list cannot be used. Never shows credentials.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListError {
    /// Nothing to ask is in it.
    #[error(
        "the list of module proxies names none ({0:?}): Shipway asks proxies only, never version control (direct), \
         so at least one http, https or file URL is needed"
    )]
    Empty(String),
    /// More than are accepted.
    #[error("{0} module proxies are too many: at most {PROXIES_MAX}")]
    TooMany(usize),
    /// One of them is no URL of a kind that can be asked.
    #[error("module proxy number {number} is no http, https or file URL: {reason}")]
    Url {
        /// Counted from 1.
        number: usize,
        /// What is wrong, without the URL: it may hold a password.
        reason: String,
    },
}

impl ProxyList {
    /// Reads a list as `GOPROXY` has it. `direct` is left out, `off` ends it, as nothing behind
    /// it would be asked.
    ///
    /// # Errors
    ///
    /// No proxy is left, too many are, or one cannot be asked.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut entries = Vec::new();
        for (number, (word, any_failure_goes_on)) in words(text).into_iter().enumerate() {
            match word {
                "" | "direct" => {}
                "off" => break,
                word => entries.push(Entry { url: url(number + 1, word)?, any_failure_goes_on }),
            }
        }
        match entries.len() {
            0 => Err(ListError::Empty(
                words(text).into_iter().map(|(word, _)| keyword(word)).collect::<Vec<_>>().join(","),
            )),
            given if given > PROXIES_MAX => Err(ListError::TooMany(given)),
            _ => Ok(Self(entries)),
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }
}

/// Words and whether a `|` follows each.
fn words(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find([',', '|']) {
        found.push((rest[..end].trim(), rest.as_bytes()[end] == b'|'));
        rest = &rest[end + 1..];
    }
    found.push((rest.trim(), false));
    found
}

fn keyword(word: &str) -> &str {
    if matches!(word, "direct" | "off" | "") { word } else { "…" }
}

fn url(number: usize, word: &str) -> Result<Url, ListError> {
    let refuse = |reason: &str| ListError::Url { number, reason: reason.to_owned() };
    let url = Url::parse(word).map_err(|error| refuse(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_none_or(str::is_empty) => Err(refuse("it has no host")),
        "http" | "https" => Ok(url),
        "file" => url.to_file_path().map(|_| url).map_err(|()| refuse("it is no path of this machine")),
        _ => Err(refuse("its scheme is another")),
    }
}

/// A proxy's URL without user and password, query and fragment: what errors and logs show.
pub(super) fn redacted(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_query(None);
    plain.set_fragment(None);
    if plain.username().is_empty() && plain.password().is_none() {
        return plain.to_string().trim_end_matches('/').to_owned();
    }
    // A URL that has a user has a host, so both can be set.
    let set = plain.set_password(None).and_then(|()| plain.set_username("***"));
    if set.is_err() {
        return "***".to_owned();
    }
    plain.to_string().trim_end_matches('/').to_owned()
}

impl fmt::Display for ProxyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.0.iter().enumerate() {
            f.write_str(&redacted(&entry.url))?;
            if at + 1 < self.0.len() {
                f.write_str(if entry.any_failure_goes_on { "|" } else { "," })?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ProxyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyList({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        let answer = ProxyList::parse(given).map_or_else(|error| error.to_string(), |list| list.to_string());
        assert_eq!(answer, expected, "given: {given}");
    }

    #[test]
    fn proxies_are_kept_in_order_and_direct_is_left_out() {
        check("https://a.test,direct", "https://a.test");
        check("http://a.test/x/|https://b.test , file:///srv/p,off", "http://a.test/x|https://b.test,file:///srv/p");
        check("https://a.test,off,https://b.test", "https://a.test");
    }

    #[test]
    fn credentials_are_never_shown() {
        check("https://user:secret@a.test/x?token=secret", "https://***@a.test/x");
        let wrong = "ftp://user:secret@a.test";
        check(wrong, "module proxy number 1 is no http, https or file URL: its scheme is another");
        let error = ProxyList::parse("off,https://user:secret@a.test").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!format!("{:?}", ProxyList::parse("https://user:secret@a.test").unwrap()).contains("secret"));
    }

    #[test]
    fn a_list_with_nothing_to_ask_says_so() {
        for list in ["", "direct", "off", "off,https://a.test", " , direct"] {
            assert!(matches!(ProxyList::parse(list), Err(ListError::Empty(_))), "{list}");
        }
        check("a.test", "module proxy number 1 is no http, https or file URL: relative URL without a base");
        assert!(ProxyList::parse(&"https://a.test,".repeat(17)).is_err());
    }
}
