//! Registrations among the words of a package.

use std::collections::{BTreeMap, BTreeSet};

use super::Registered;
use super::words::{Word, cut};
use crate::recipe::Registration;

/// Most words of an id's expression.
const ID_WORDS_MAX: usize = 32;
/// Most letters kept of an author's words.
const DOCS_CHARS_MAX: usize = 4_000;

/// Lists what the sources of one package register.
pub(super) fn in_package(package: &str, sources: &[String], registration: &Registration) -> Vec<Registered> {
    let files: Vec<Vec<Word<'_>>> = sources.iter().map(|source| cut(source)).collect();
    let names: BTreeSet<&str> = files.iter().flat_map(|words| registered(words, &registration.function)).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let constants: BTreeMap<&str, &str> = files.iter().flat_map(|words| constants(words)).collect();
    let ids: BTreeMap<&str, Option<String>> =
        files.iter().flat_map(|words| ids(words, registration, &constants)).collect();
    let each = |name: &&str| Registered {
        package: package.to_owned(),
        name: (*name).to_owned(),
        id: ids.get(*name).cloned().flatten(),
        docs: sources.iter().find_map(|source| docs(source, name)).unwrap_or_default(),
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

/// For each type with the method: the id in it.
fn ids<'a>(
    words: &'a [Word<'a>],
    registration: &'a Registration,
    constants: &'a BTreeMap<&'a str, &'a str>,
) -> impl Iterator<Item = (&'a str, Option<String>)> {
    let methods = words
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] == Word::Sign(')') && pair[1] == Word::Name(registration.method.as_str()));
    methods.filter_map(move |(at, _)| {
        let receiver = words[..at].iter().rev().find_map(|word| match word {
            Word::Name(name) => Some(*name),
            _ => None,
        })?;
        Some((receiver, id(body(&words[at + 2..]), &registration.field, constants)))
    })
}

/// The words of the first block.
fn body<'a>(words: &'a [Word<'a>]) -> &'a [Word<'a>] {
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

/// The comment right above `type name`.
fn docs(source: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let declares = |line: &&str| {
        let rest = line.strip_prefix("type ").and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with([' ', '\t', '[', '{']))
    };
    let at = lines.iter().position(declares)?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("//")).count();
    let words = lines[at - above..at].iter().map(|line| line.trim_start_matches('/').trim());
    Some(words.collect::<Vec<_>>().join("\n").trim().chars().take(DOCS_CHARS_MAX).collect())
}
