//! What an image is called: `repository` or `repository:tag`.
//!
//! The grammar is that of the OCI distribution specification (§pulling manifests), without
//! a registry's host, and shorter: a name stands in a URL, a log field and a table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest repository.
const REPOSITORY_MAX: usize = 128;
/// Longest tag, as in the specification.
const TAG_MAX: usize = 128;
/// What a name without a tag means.
const TAG_DEFAULT: &str = "latest";

/// Why a text is no image's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageNameError {
    /// The part before the colon.
    #[error(
        "a repository has 1 to 128 characters: a-z and 0-9 in parts, between them one of `/`, `.`, `_`, `__` or hyphens"
    )]
    Repository,
    /// The part after it.
    #[error("a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and begins with neither `.` nor `-`")]
    Tag,
}

/// An image's name, always with a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName {
    text: String,
    /// Where the colon is.
    colon: usize,
}

impl ImageName {
    /// `repository:tag`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the colon.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The part after it.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let (repository, tag) = text.split_once(':').unwrap_or((text, TAG_DEFAULT));
        if repository.len() > REPOSITORY_MAX || !repository.split('/').all(is_component) {
            return Err(ImageNameError::Repository);
        }
        if !is_tag(tag) {
            return Err(ImageNameError::Tag);
        }
        Ok(Self { text: format!("{repository}:{tag}"), colon: repository.len() })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    let mut between = bytes.split(plain).filter(|run| !run.is_empty());
    ends && between.all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=TAG_MAX).contains(&tag.len()) && !tag.starts_with(['.', '-']) && tag.bytes().all(fits)
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for ImageName {
    type Error = ImageNameError;
    fn try_from(text: String) -> Result<Self, ImageNameError> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = match text.parse::<ImageName>() {
            Ok(name) => format!("{} and {}", name.repository(), name.tag()),
            Err(ImageNameError::Repository) => "repository".to_owned(),
            Err(ImageNameError::Tag) => "tag".to_owned(),
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn names_are_told_from_noise() {
        check("debian", "debian and latest");
        check("debian:bookworm-slim", "debian and bookworm-slim");
        check("team/a__b--c.d:V1.0_x", "team/a__b--c.d and V1.0_x");
        for bad in ["", ":x", "Debian", "a//b", "/a", "a/", "a___b", "a..b", "-a", "a-", "a b", "../x", "é", "a\0"] {
            check(bad, "repository");
        }
        for bad in ["a:", "a:.x", "a:-x", "a:x y", "a:b:c", "a:é", "a:x/y"] {
            check(bad, "tag");
        }
        check(&"a".repeat(129), "repository");
        check(&format!("a:{}", "t".repeat(129)), "tag");
    }

    proptest! {
        #[test]
        fn a_name_reads_back_and_nothing_panics(text in ".{0,40}") {
            if let Ok(name) = text.parse::<ImageName>() {
                prop_assert_eq!(name.as_str().parse::<ImageName>().unwrap(), name);
            }
        }
    }
}
