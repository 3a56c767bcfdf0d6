//! Registrations among the words of a package.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{Word, cut};
use super::{FOUND_MAX, Registered};
use crate::recipe::Registration;

/// Most words of an id's expression.
const ID_WORDS_MAX: usize = 32;
/// Most letters kept of an author's words, and lines looked at for them.
const DOCS_CHARS_MAX: usize = 4_000;
const DOCS_LINES_MAX: usize = 200;
/// Most methods of one package that are looked into, and words of one: an id stands near its
/// beginning. Without them, a package of nothing but methods without an end would be read again for each.
const METHODS_MAX: usize = 4 * FOUND_MAX;
const BODY_WORDS_MAX: usize = 10_000;
/// Most words back from a method's name to its receiver's type, which may have parameters of its own.
const RECEIVER_WORDS_MAX: usize = 64;

/// Lists what the sources of one package register.
pub(super) fn in_package(package: &str, sources: &[String], registration: &Registration) -> Vec<Registered> {
    let files: Vec<Vec<Word<'_>>> = sources.iter().map(|source| cut(source)).collect();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for name in files.iter().flat_map(|words| registered(words, &registration.function)) {
        if names.len() < FOUND_MAX {
            names.insert(name);
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let constants: BTreeMap<&str, &str> = files.iter().flat_map(|words| constants(words)).collect();
    let methods = files.iter().flat_map(|words| methods(words, &registration.method));
    let of_ours = methods.filter(|(receiver, _)| names.contains(receiver)).take(METHODS_MAX);
    let ids: BTreeMap<&str, Option<String>> =
        of_ours.map(|(receiver, after)| (receiver, id(body(after), &registration.field, &constants))).collect();
    let docs = docs(sources, &names);
    let each = |name: &&str| Registered {
        package: package.to_owned(),
        name: (*name).to_owned(),
        id: ids.get(*name).cloned().flatten(),
        docs: docs.get(*name).cloned().unwrap_or_default(),
    };
    names.iter().map(each).collect()
}

/// Names of types in `x.Function(T{…})`, `(new(T))`, `(&T{…})`, `((*T)(nil))`.
fn registered<'a>(words: &'a [Word<'a>], function: &'a str) -> impl Iterator<Item = &'a str> {
    let calls = words.windows(2).enumerate().filter(move |(at, pair)| {
        let called = pair[0] == Word::Name(function) && pair[1] == Word::Sign('(');
        // Its own definition is no call of it.
        called && !matches!(at.checked_sub(1).map(|before| &words[before]), Some(Word::Name("func")))
    });
    calls.filter_map(|(at, _)| {
        let argument = &words[at + 2..];
        let signs = argument.iter().take_while(|word| matches!(word, Word::Sign('&' | '(' | '*'))).count();
        type_name(&argument[signs..])
    })
}

/// The type's name where an argument begins with `new(T)`, `T{`, `T)` or any of them with `pkg.`.
fn type_name<'a>(argument: &[Word<'a>]) -> Option<&'a str> {
    match argument {
        [Word::Name("new"), Word::Sign('('), Word::Name(_), Word::Sign('.'), Word::Name(name), ..]
        | [Word::Name("new"), Word::Sign('('), Word::Name(name), ..]
        | [Word::Name(_), Word::Sign('.'), Word::Name(name), Word::Sign('{' | ')'), ..]
        | [Word::Name(name), Word::Sign('{' | ')'), ..] => Some(name),
        _ => None,
    }
}

/// `name = "text"`, wherever it stands: constants and variables of the package.
fn constants<'a>(words: &'a [Word<'a>]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words.iter().enumerate().filter_map(|(at, word)| {
        let (Word::Name(name), after) = (word, &words[at + 1..]) else { return None };
        match after {
            [Word::Sign('='), Word::Text(text), ..] | [Word::Name(_), Word::Sign('='), Word::Text(text), ..] => {
                Some((*name, *text))
            }
            _ => None,
        }
    })
}

/// The types with the method, each with what stands behind the method's name.
fn methods<'a>(words: &'a [Word<'a>], method: &'a str) -> impl Iterator<Item = (&'a str, &'a [Word<'a>])> {
    let named = words
        .windows(2)
        .enumerate()
        .filter(move |(_, pair)| pair[0] == Word::Sign(')') && pair[1] == Word::Name(method));
    named.filter_map(move |(at, _)| {
        // `(t *T)`: the type is the last name in it.
        let receiver = words[..at].iter().rev().take(RECEIVER_WORDS_MAX).find_map(|word| match word {
            Word::Name(name) => Some(*name),
            _ => None,
        })?;
        Some((receiver, &words[at + 2..]))
    })
}

/// The words of the first block.
fn body<'a>(words: &'a [Word<'a>]) -> &'a [Word<'a>] {
    let words = &words[..words.len().min(BODY_WORDS_MAX)];
    let Some(start) = words.iter().position(|word| *word == Word::Sign('{')) else { return &[] };
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate().skip(start) {
        match word {
            Word::Sign('{') => depth += 1,
            Word::Sign('}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &words[start..at];
        }
    }
    &words[start..]
}

/// The value of `field:`, texts and constants put together; `None` if anything else is in it.
fn id(body: &[Word<'_>], field: &str, constants: &BTreeMap<&str, &str>) -> Option<String> {
    let at = body.windows(2).position(|pair| pair[0] == Word::Name(field) && pair[1] == Word::Sign(':'))?;
    let mut id = String::new();
    for word in body[at + 2..].iter().take(ID_WORDS_MAX) {
        match word {
            Word::Text(text) => id.push_str(text),
            Word::Name(name) => id.push_str(constants.get(name)?),
            Word::Sign('+') => {}
            Word::Sign(',' | '}') => break,
            Word::Sign(_) => return None,
        }
    }
    (!id.is_empty()).then_some(id)
}

/// The comments right above `type name`, of each of these names.
fn docs(sources: &[String], names: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for source in sources {
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = declared(line).filter(|name| names.contains(name)) else { continue };
            if !found.contains_key(name) {
                found.insert(name.to_owned(), above(&lines[..at]));
            }
        }
    }
    found
}

fn declared(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("type ")?;
    let end = rest.find([' ', '\t', '[', '{'])?;
    Some(&rest[..end])
}

/// The comment that the lines end with.
fn above(lines: &[&str]) -> String {
    let count = lines.iter().rev().take(DOCS_LINES_MAX).take_while(|line| line.starts_with("//")).count();
    let words = lines[lines.len() - count..].iter().map(|line| line.trim_start_matches('/').trim());
    words.collect::<Vec<_>>().join("\n").trim().chars().take(DOCS_CHARS_MAX).collect()
}
