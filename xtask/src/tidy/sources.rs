//! Rules about Rust sources that read them as text.

use std::fs;

use anyhow::Context as _;

use crate::sh;

/// A longer file holds a second subject.
const FILE_LINES_MAX: usize = 600;
/// A longer function cannot be seen whole.
const FUNCTION_LINES_MAX: usize = 70;
/// Larger files do not belong into a repository of sources.
const BLOB_BYTES_MAX: u64 = 512 << 10;

/// Files with an excuse, which the list states. It only shrinks.
const EXCUSED: &[(&str, &str)] = &[];

/// What must not stand in a source, and what to do instead. The words are split
/// so that this file does not find itself.
const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "mend it, or open an issue"),
    (concat!("to", "do!("), "build it, or refuse it with an error"),
    (concat!("unimpl", "emented!("), "build it, or refuse it with an error"),
    (concat!("#[ig", "nore"), "a test that does not run is no test"),
    (concat!("should_", "panic"), "return an error and assert on it"),
];

/// Returns every place that breaks a rule.
pub(super) fn check(files: &[String]) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files {
        let path = sh::root().join(file);
        if fs::metadata(&path)?.len() > BLOB_BYTES_MAX {
            findings.push(format!("{file}: larger than {} KiB; make it in the test instead", BLOB_BYTES_MAX >> 10));
        }
        if file.ends_with(".rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
            findings.extend(in_file(file, &text));
        }
    }
    Ok(findings)
}

fn in_file(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let excused = EXCUSED.iter().any(|(name, _)| *name == file);
    if lines.len() > FILE_LINES_MAX && !excused {
        findings.push(format!("{file}: {} lines; find the second subject and give it a file", lines.len()));
    }
    if file.ends_with("/mod.rs") && !file.contains("/tests/") {
        findings.push(format!("{file}: name it after its module, beside its folder"));
    }
    if !text.starts_with("//!") && !file.ends_with("tests.rs") {
        findings.push(format!("{file}: open with a `//!` paragraph for a stranger"));
    }
    for (number, line) in lines.iter().enumerate() {
        let banned = BANNED.iter().filter(|(word, _)| line.contains(word));
        findings.extend(banned.map(|(word, instead)| format!("{file}:{}: {word}: {instead}", number + 1)));
    }
    findings.extend(
        long_functions(&lines)
            .into_iter()
            .map(|(line, length)| format!("{file}:{line}: a function of {length} lines; cut it")),
    );
    findings
}

/// Functions over the limit: the line they begin on, and their length. A
/// function ends at the first line that closes with its own indentation, which
/// holds because the sources are formatted.
fn long_functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let starts = lines.iter().enumerate().filter(|(_, line)| is_function(line));
    let length = |(start, line): (usize, &&str)| {
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|line| *line == close)?;
        (end + 1 > FUNCTION_LINES_MAX).then_some((start + 1, end + 1))
    };
    starts.filter_map(length).collect()
}

fn is_function(line: &str) -> bool {
    let mut rest = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe ", "extern \"C\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.starts_with("fn ") && !line.trim_end().ends_with([';', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_is_found_and_a_short_one_is_not() {
        let body = "    x();\n".repeat(69);
        let text = format!("//! Head.\npub(crate) async fn long() {{\n{body}}}\nfn short() {{\n    x();\n}}\n");
        assert_eq!(in_file("a.rs", &text), ["a.rs:2: a function of 71 lines; cut it"]);
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(in_file("a.rs", "use x;\n").len(), 1);
        assert_eq!(in_file("src/foo/tests.rs", "use x;\n").len(), 0);
    }
}
