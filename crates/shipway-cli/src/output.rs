//! How things are printed: tables for people, JSON for programs.
//!
//! Text that came from outside (log lines, reasons, names of files) never reaches
//! a terminal with its control characters: they could rewrite what one reads.

use std::io::Write as _;

use serde::Serialize;

use crate::args::Global;
use crate::ask::Surroundings;
use crate::exit::Failure;
use crate::progress::Progress;

/// Where everything is printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    progress: bool,
    raw: bool,
}

/// Replaces what could steer a terminal: C0 and C1 controls but tab, and the
/// marks that turn the direction of text.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

impl Output {
    pub(crate) fn new(global: &Global, surroundings: &Surroundings) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            progress: surroundings.stderr_is_terminal && !global.quiet && !global.json,
            raw: !surroundings.stdout_is_terminal,
        }
    }

    /// Text from outside, for standard output: as it is into a pipe, harmless on a terminal.
    pub(crate) fn foreign(&self, text: &str) -> String {
        if self.raw { text.to_owned() } else { plain(text) }
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, text: &str) {
        // A reader that has gone away (`| head`) is no failure of ours.
        drop(writeln!(std::io::stdout().lock(), "{text}"));
    }

    /// Prints an object.
    pub(crate) fn object(&self, object: &impl Serialize) {
        self.line(&serde_json::to_string(object).unwrap_or_default());
    }

    /// Says something that is no data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        }
    }

    pub(crate) fn progress(&self, message: impl Into<String>) -> Progress {
        Progress::begin(self.progress, message.into())
    }

    /// Prints rows under their heads, columns as wide as they must be.
    pub(crate) fn table(&self, heads: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([heads[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.line(&line(&mut heads.iter().copied()));
        for row in rows {
            self.line(&line(&mut row.iter().map(String::as_str)));
        }
    }

    /// Says why a command failed, and returns its exit status.
    pub(crate) fn failure(&self, failure: &Failure) -> u8 {
        let mut err = std::io::stderr().lock();
        if let (true, Some(problem)) = (self.json, &failure.problem) {
            drop(writeln!(err, "{}", serde_json::to_string(problem).unwrap_or_default()));
            return failure.code;
        }
        drop(writeln!(err, "error: {}", plain(&failure.message)));
        for field in failure.problem.iter().flat_map(|problem| &problem.errors) {
            drop(writeln!(err, "  {}: {}", plain(&field.pointer), plain(&field.detail)));
        }
        if !failure.log_tail.is_empty() {
            drop(writeln!(err, "\nits last log lines:"));
            failure.log_tail.iter().for_each(|line| drop(writeln!(err, "  {}", plain(line))));
        }
        if let Some(hint) = &failure.hint {
            drop(writeln!(err, "\nhint: {}", plain(hint)));
        }
        failure.code
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_from_outside_steers_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\td\u{9b}"), "a\u{fffd}[2Jb\u{fffd}c\td\u{fffd}");
    }
}
