//! `{{ env "NAME" }}` and `{{ envOr "NAME" "default" }}` in values of the file,
//! the two functions of the Caddy build server's configuration.

use std::collections::BTreeMap;

/// Replaces every call in `text`.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (call, after) = after.split_once("}}").ok_or("a `{{` is not closed by `}}`")?;
        expanded.push_str(before);
        expanded.push_str(&value_of(call.trim(), environment)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value_of(call: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    let words = words(call)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["env", name] => Ok(environment.get(name).cloned().unwrap_or_default()),
        ["envOr", name, default] => {
            let set = environment.get(name).filter(|value| !value.is_empty());
            Ok(set.cloned().unwrap_or_else(|| default.to_owned()))
        }
        _ => Err(format!("`{{{{ {call} }}}}` is neither env \"NAME\" nor envOr \"NAME\" \"default\"")),
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
