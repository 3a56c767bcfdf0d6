//! What is needed of a `go.mod`: the module, the Go it wants, and what it takes back.
//!
//! Not a parser of the whole format. It reads the four directives of use here as the go command
//! does (line comments, blocks, quoted words) and passes over every other; a line of those four
//! that makes no sense is passed over too, except for `module`. The text is a stranger's: it is
//! bounded by whoever fetched it, and the number of retractions is bounded here.

use crate::module::{ModulePath, Version};

/// Most retracted ranges kept: no real module has a hundred.
const RETRACTIONS_MAX: usize = 10_000;

/// Most words of a line that are looked at: the longest directive of use here has six.
const WORDS_MAX: usize = 16;

/// What a `go.mod` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoMod {
    /// The path the module calls itself by; `None` if there is none or it is malformed.
    pub module: Option<String>,
    /// The `go` line: `1.25.0`.
    pub go: Option<String>,
    /// The `toolchain` line: `go1.26.1`.
    pub toolchain: Option<String>,
    /// What must not be used.
    pub retracted: Vec<Retracted>,
}

/// A range of versions that its author has taken back, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retracted {
    /// The lowest.
    pub low: Version,
    /// The highest.
    pub high: Version,
    /// Why, in the author's words, one line; empty if nothing was said.
    pub rationale: String,
}

impl GoMod {
    /// Reads the text of a `go.mod`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut block: Option<String> = None;
        let mut comment_above = String::new();
        for line in text.lines() {
            let (code, comment) = cut_comment(line);
            let words = words(code);
            if words.is_empty() {
                comment_above = if comment.is_empty() { String::new() } else { comment.to_owned() };
                continue;
            }
            let rationale = if comment.is_empty() { comment_above.as_str() } else { comment };
            match (&block, words.as_slice()) {
                (Some(_), [close]) if close == ")" => block = None,
                (Some(directive), all) => found.line(directive, all, rationale),
                (None, [directive, open]) if open == "(" => block = Some(directive.clone()),
                (None, [directive, rest @ ..]) => found.line(directive, rest, rationale),
                (None, []) => {}
            }
            comment_above.clear();
        }
        found
    }

    /// Whether this is what a proxy makes up for a module that has none.
    #[must_use]
    pub fn is_made_up(text: &str, module: &ModulePath) -> bool {
        text == format!("module {module}\n")
    }

    /// The range that takes this version back.
    #[must_use]
    pub fn retraction(&self, version: &Version) -> Option<&Retracted> {
        let within =
            |range: &&Retracted| range.low.precedence(version).is_le() && version.precedence(&range.high).is_le();
        self.retracted.iter().find(within)
    }

    fn line(&mut self, directive: &str, words: &[String], rationale: &str) {
        match (directive, words) {
            ("module", [path]) => self.module = Some(path.clone()),
            ("go", [version]) => self.go = Some(version.clone()),
            ("toolchain", [name]) => self.toolchain = Some(name.clone()),
            ("retract", words) if self.retracted.len() < RETRACTIONS_MAX => {
                self.retracted.extend(range(words, rationale));
            }
            _ => {}
        }
    }
}

/// `v1.0.0`, or `[v1.0.0, v1.9.9]`.
fn range(words: &[String], rationale: &str) -> Option<Retracted> {
    let joined = words.concat();
    let inner = joined.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (low, high) = match inner {
        Some(inner) => inner.split_once(',')?,
        None => (joined.as_str(), joined.as_str()),
    };
    let (low, high) = (Version::parse(low).ok()?, Version::parse(high).ok()?);
    Some(Retracted { low, high, rationale: rationale.to_owned() })
}

/// The code of a line, and its comment without the slashes.
fn cut_comment(line: &str) -> (&str, &str) {
    let (code, comment) = line.split_once("//").unwrap_or((line, ""));
    (code, comment.trim())
}

/// The first words of a line: quotes taken off, brackets and commas words of their own.
fn words(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for letter in code.chars() {
        if found.len() >= WORDS_MAX {
            return found;
        }
        match (quote, letter) {
            (Some(end), letter) if letter == end => quote = None,
            (Some(_), letter) => word.push(letter),
            (None, '"' | '`') => quote = Some(letter),
            (None, '(' | ')' | '[' | ']' | ',') => {
                found.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                found.push(letter.to_string());
            }
            (None, letter) if letter.is_whitespace() => {
                found.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            (None, letter) => word.push(letter),
        }
    }
    found.extend(Some(word).filter(|word| !word.is_empty()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = GoMod::parse(text);
        let ranges = found.retracted.iter().map(|it| format!("{}..{} {}", it.low, it.high, it.rationale));
        let words = [&found.module, &found.go, &found.toolchain].map(|word| word.clone().unwrap_or_default());
        let shown: Vec<String> = words.into_iter().chain(ranges).collect();
        assert_eq!(shown.join("|"), expected, "{text}");
    }

    #[test]
    fn four_directives_are_read() {
        check("module x.com/a // here\n\ngo 1.25.0\ntoolchain go1.26.1\n", "x.com/a|1.25.0|go1.26.1");
        check("module \"x.com/a\"\nrequire (\n  x.com/b v1.0.0\n)\ngo 1.21\n", "x.com/a|1.21|");
        check("module (\n x.com/a\n)\n", "x.com/a||");
    }

    #[test]
    fn what_is_taken_back_is_known_with_the_reason() {
        check("module x.com/a\nretract v1.0.0 // bad\n", "x.com/a|||v1.0.0..v1.0.0 bad");
        check(
            "module x.com/a\n// worse\nretract [v1.0.0, v1.9.9]\nretract (\n v2.0.0-rc.1\n [v3.0.0,v3.1.0] // x\n)\n",
            "x.com/a|||v1.0.0..v1.9.9 worse|v2.0.0-rc.1..v2.0.0-rc.1 |v3.0.0..v3.1.0 x",
        );
    }

    #[test]
    fn nonsense_is_passed_over() {
        check("retract [v1.0.0\nretract latest\nretract\ngo\n)\n(\nmodule\n\"", "||");
        check("module `x", "x||");
        check(&"(".repeat(100_000), "||");
        let many = "retract v1.0.0\n".repeat(RETRACTIONS_MAX + 5);
        assert_eq!(GoMod::parse(&many).retracted.len(), RETRACTIONS_MAX);
    }

    #[test]
    fn a_made_up_one_is_known() {
        let path = ModulePath::parse("x.com/a").unwrap();
        assert!(GoMod::is_made_up("module x.com/a\n", &path));
        assert!(!GoMod::is_made_up("module x.com/a\n\ngo 1.20\n", &path));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(module|go|retract|v1\\.0\\.0|[\\[\\](),\"`/ \n]|\\PC){0,80}") {
            drop(GoMod::parse(&text));
        }
    }
}
