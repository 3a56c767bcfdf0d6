//! Why an archive is not taken: one word each, which people, programs and tests share.

use std::io;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $text:literal;)+) => {
        /// A rule that an archive broke.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// Every rule there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its word: added to, never renamed.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The rule, in a sentence's end.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rules! {
    /// Neither a tar archive nor one in gzip or Zstandard, or a head that says nothing.
    Format = "format", "it is no tar archive, plain, in gzip or in Zstandard";
    /// It ends in the middle of something.
    Truncated = "truncated", "it ends in the middle";
    /// Nothing in it.
    Empty = "empty", "there is nothing in it";
    /// A path that begins with a slash.
    Absolute = "absolute", "paths are relative to the root";
    /// `..` in a path.
    Parent = "parent", "a path may not climb with `..`";
    /// A name that no file can have, or a path longer than 4,095 bytes.
    Name = "name", "a name has 1 to 255 bytes, a path 4,095, and none is zero";
    /// Folders inside each other, past the limit.
    Depth = "depth", "folders are nested too deeply";
    /// A path that leads through a symlink.
    ThroughSymlink = "through_symlink", "nothing is written through a symlink";
    /// One name for two kinds of thing, or something below a file.
    TypeChange = "type_change", "a name stays the kind of thing it was";
    /// A hard link to something that is not an earlier file or symlink of the archive.
    HardLink = "hard_link", "a hard link names an earlier file of the same archive";
    /// A symlink to nothing, or to more than 4,095 bytes.
    Symlink = "symlink", "a symlink's target has 1 to 4,095 bytes and none is zero";
    /// A device outside of `dev/`, where they are left out.
    Device = "device", "there are no devices outside of dev/";
    /// A named pipe outside of `dev/`, or a socket.
    Special = "special", "there are no pipes and sockets";
    /// A file with holes, in any of the ways to write one.
    Sparse = "sparse", "files with holes are written out in full";
    /// A kind of entry that is neither POSIX's nor of a distribution's root file system.
    Kind = "kind", "an entry is a file, a folder, a symlink or a hard link";
    /// Content behind a head that has none.
    Body = "body", "only files have content";
    /// An owner that no container has.
    Owner = "owner", "user and group ids end at 65535";
    /// A pax extension that cannot be read, or that other programs would read otherwise.
    Extension = "extension", "an extension says one thing, once, in 1 MiB at most";
    /// Too many entries.
    Entries = "entries", "there are too many entries";
    /// Too many bytes.
    Bytes = "bytes", "there are too many bytes";
    /// Too many bytes of names.
    Names = "names", "the names are too long together";
    /// Decompression makes it much larger than it is.
    Ratio = "ratio", "it grows too much by decompression";
}

/// Why an archive did not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It broke a rule.
    #[error("refused by rule `{}`: {}{}", rule.word(), at(path.as_deref()), rule.text())]
    Refused {
        /// Which.
        rule: Rule,
        /// The entry, made fit to be shown, if it was one.
        path: Option<String>,
    },
    /// The archive could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The tree could not be written: the disk is full, most likely.
    #[error("cannot {doing} {path}")]
    Write {
        /// What was being done.
        doing: &'static str,
        /// Below the tree's root, made fit to be shown.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// The rule, if one was broken.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Refused { rule, .. } => Some(*rule),
            Self::Read(_) | Self::Write { .. } => None,
        }
    }
}

fn at(path: Option<&str>) -> String {
    path.map(|path| format!("{path}: ")).unwrap_or_default()
}

/// A refusal that is no single entry's.
pub(crate) const fn broken(rule: Rule) -> UnpackError {
    UnpackError::Refused { rule, path: None }
}

/// A refusal of one entry.
pub(crate) fn broken_at(rule: Rule, path: &[u8]) -> UnpackError {
    UnpackError::Refused { rule, path: Some(show(path)) }
}

/// Longest part of a hostile name that is told.
const SHOWN_MAX: usize = 120;

/// A name as far as it can do no harm in a message.
pub(crate) fn show(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut shown: String =
        text.chars().take(SHOWN_MAX).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_word_of_its_own() {
        let mut words: Vec<_> = Rule::ALL.iter().map(|rule| rule.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Rule::ALL.len());
    }

    #[test]
    fn a_refusal_names_rule_and_entry_and_no_control_character() {
        let told = broken_at(Rule::Parent, b"a/\x1b[31m/../b").to_string();
        assert_eq!(told, "refused by rule `parent`: a/\u{fffd}[31m/../b: a path may not climb with `..`");
        assert!(broken_at(Rule::Name, &[b'x'; 5000]).to_string().len() < 300);
    }
}
