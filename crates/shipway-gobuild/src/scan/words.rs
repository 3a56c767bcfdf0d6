//! Go source cut into words. Comments are left out; nothing is an error.

/// A word of Go source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// A name, keyword or number.
    Name(&'a str),
    /// A string, with its quotes taken off and escapes as they stand.
    Text(&'a str),
    /// Any other character.
    Sign(char),
}

/// Cuts a source into words. One pass; a string or comment without an end ends with the source.
pub(super) fn cut(source: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (word, length) = match first {
            _ if rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => (None, rest[2..].find("*/").map_or(rest.len(), |end| end + 4)),
            '`' => text(rest, rest[1..].find('`').map(|end| end + 1)),
            '"' | '\'' => text(rest, closing(rest, first)),
            letter if is_name(letter) => {
                let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
                (Some(Word::Name(&rest[..end])), end)
            }
            letter if letter.is_whitespace() => (None, letter.len_utf8()),
            letter => (Some(Word::Sign(letter)), letter.len_utf8()),
        };
        words.extend(word);
        rest = &rest[length..];
    }
    words
}

fn text(rest: &str, end: Option<usize>) -> (Option<Word<'_>>, usize) {
    match end {
        Some(end) => (Some(Word::Text(&rest[1..end])), end + 1),
        None => (None, rest.len()),
    }
}

/// Where the quote that opens `rest` is closed; a backslash protects what follows it.
fn closing(rest: &str, quote: char) -> Option<usize> {
    let mut protected = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if protected => protected = false,
            '\\' => protected = true,
            letter if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
