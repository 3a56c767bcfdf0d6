//! What somebody means by a URL or a file: its name, and whether it is to be run.

use shipway_api_types::ContentKind;

/// Files that are almost always meant to be run. JavaScript and PHP are as often
/// served as run, so they are not here.
const SCRIPTS: [&str; 7] = ["sh", "bash", "py", "pl", "rb", "cgi", "lua"];

/// A guess, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) kind: ContentKind,
    pub(crate) because: String,
}

/// Guesses what a file is for, by its first bytes (when we have them) and its name.
pub(crate) fn kind(file_name: &str, begins: Option<&[u8]>) -> Guess {
    if begins.is_some_and(|bytes| bytes.starts_with(b"#!")) {
        return Guess { kind: ContentKind::Script, because: "it begins with #!".to_owned() };
    }
    match extension(file_name) {
        Some(extension) if SCRIPTS.contains(&extension.as_str()) => {
            Guess { kind: ContentKind::Script, because: format!("its name ends in .{extension}") }
        }
        _ => Guess { kind: ContentKind::Static, because: "it does not look like a script".to_owned() },
    }
}

fn extension(file_name: &str) -> Option<String> {
    let (stem, extension) = file_name.rsplit_once('.')?;
    (!stem.is_empty()).then(|| extension.to_ascii_lowercase())
}

/// The last part of a path, without a query.
pub(crate) fn file_name(source: &str) -> &str {
    let path = match url::Url::parse(source) {
        Ok(url) if url.scheme().starts_with("http") => {
            source.split(['?', '#']).next().unwrap_or_default().splitn(4, '/').nth(3).unwrap_or_default()
        }
        _ => source,
    };
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// A service's name made of a file's: a DNS label, or nothing.
pub(crate) fn service_name(file_name: &str) -> Option<String> {
    let stem = file_name.split('.').find(|part| !part.is_empty())?;
    let mut name = String::new();
    for letter in stem.chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(63);
    let name = name.trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_is_there() {
        for (source, name) in [
            ("https://example.com/a/Hello_World.sh?raw=1#x", Some("hello-world")),
            ("https://example.com/raw/UCVAQpD4", Some("ucvaqpd4")),
            ("./site.html", Some("site")),
            ("/tmp/.hidden.sh", Some("hidden")),
            ("dir/", Some("dir")),
            ("https://example.com", None),
            ("https://example.com/", None),
            ("---", None),
        ] {
            assert_eq!(service_name(file_name(source)).as_deref(), name, "{source}");
        }
    }

    #[test]
    fn scripts_are_told_by_shebang_then_by_name() {
        for (name, begins, script) in [
            ("page.html", Some(&b"#!/bin/sh\n"[..]), true),
            ("hello.sh", None, true),
            ("HELLO.PY", Some(b"import os"), true),
            ("page.html", Some(b"<html>"), false),
            ("app.js", None, false),
            ("sh", None, false),
            (".sh", None, false),
        ] {
            assert_eq!(kind(name, begins).kind == ContentKind::Script, script, "{name}");
        }
    }
}
