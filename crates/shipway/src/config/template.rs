//! `{{ env "NAME" }}` and `{{ envOr "NAME" "default" }}` in the file, the two functions of the
//! Caddy build server's configuration.
//!
//! That server expands the whole text and reads what comes out as YAML. Here the calls are taken
//! out before YAML is read and put back into the values afterwards: so they may stand without
//! quotes, as they do in its example, and a variable's content is never read as YAML.

use std::collections::BTreeMap;

/// Stands on both sides of a call's number where it was taken out. For private use, so it is in no
/// text that means anything, and YAML takes it for a letter.
const MARK: char = '\u{E000}';

/// What was taken out of a text.
#[derive(Debug)]
pub(super) struct Calls(Vec<String>);

/// A value with its calls answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// The variables that were asked for.
    pub(super) variables: Vec<String>,
}

impl Calls {
    /// Takes every `{{ … }}` that ends in its line out of `text`.
    pub(super) fn take_out(text: &str) -> Result<(String, Self), String> {
        if text.contains(MARK) {
            return Err(format!("a letter for private use ({MARK:?}) cannot stand in it"));
        }
        let (mut left, mut calls) = (String::with_capacity(text.len()), Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            left.push_str(before);
            let line = after.split('\n').next().unwrap_or_default();
            rest = match line.split_once("}}") {
                Some((call, _)) => {
                    left.push_str(&format!("{MARK}{}{MARK}", calls.len()));
                    calls.push(call.to_owned());
                    &after[call.len() + 2..]
                }
                None => {
                    left.push_str("{{");
                    after
                }
            };
        }
        left.push_str(rest);
        Ok((left, Self(calls)))
    }

    /// Answers the calls in a value.
    pub(super) fn expand(&self, text: &str, environment: &BTreeMap<String, String>) -> Result<Expanded, String> {
        let mut expanded = Expanded { text: String::with_capacity(text.len()), variables: Vec::new() };
        for (place, piece) in text.split(MARK).enumerate() {
            if place % 2 == 0 {
                if piece.contains("{{") {
                    return Err("a `{{` is not closed by `}}` in its line".to_owned());
                }
                expanded.text.push_str(piece);
                continue;
            }
            let call = self.call(piece);
            let (variable, value) = value_of(call, environment)?;
            expanded.variables.push(variable);
            expanded.text.push_str(&value);
        }
        Ok(expanded)
    }

    /// A text with its calls as they were written: for what is no value.
    pub(super) fn written(&self, text: &str) -> String {
        let pieces = text.split(MARK).enumerate();
        let piece = |(place, piece): (usize, &str)| match place % 2 {
            0 => piece.to_owned(),
            _ => format!("{{{{{}}}}}", self.call(piece)),
        };
        pieces.map(piece).collect()
    }

    fn call(&self, number: &str) -> &str {
        number.parse::<usize>().ok().and_then(|number| self.0.get(number)).map_or("", String::as_str)
    }
}

/// The variable that a call asks for, and what it is.
fn value_of(call: &str, environment: &BTreeMap<String, String>) -> Result<(String, String), String> {
    // In a value between double quotes, YAML has quotes escaped.
    let plain = call.replace("\\\"", "\"");
    let words = words(plain.trim())?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["env", name] => Ok((name.to_owned(), environment.get(name).cloned().unwrap_or_default())),
        ["envOr", name, default] => {
            let set = environment.get(name).filter(|value| !value.is_empty());
            Ok((name.to_owned(), set.cloned().unwrap_or_else(|| default.to_owned())))
        }
        _ => Err(format!("`{{{{{call}}}}}` is neither env \"NAME\" nor envOr \"NAME\" \"default\"")),
    }
}

/// Splits at spaces; a word may be quoted, and a quoted one may hold spaces.
fn words(call: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = call.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quote is not closed")?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}
