//! What users may call things.
//!
//! A name becomes a host label, a directory, a log field. So the grammar is the
//! strictest of those worlds: a DNS label (RFC 1035 §2.3.1, with the digit-first
//! relaxation of RFC 1123 §2.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest label DNS knows (RFC 1035 §2.3.4).
pub const LABEL_LENGTH_MAX: usize = 63;

/// Why a text cannot be a name. The message tells the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing given.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`LABEL_LENGTH_MAX`] bytes.
    #[error("a name has at most 63 characters")]
    TooLong,
    /// A character outside the grammar, or a hyphen at an end.
    #[error(
        "a name is a DNS label: lower-case letters a-z, digits and hyphens, beginning and ending with a letter or digit"
    )]
    Grammar,
    /// It could be taken for a service's id.
    #[error("a name must not look like a UUID: those labels belong to service ids")]
    LooksLikeId,
}

/// A DNS label in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > LABEL_LENGTH_MAX {
            return Err(NameError::TooLong);
        }
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain || text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Grammar);
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! label_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

label_text!(Label);
label_text!(ServiceName);
label_text!(ProjectName);

/// A service's name: a label that cannot be taken for a service's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Label);

impl ServiceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Makes a name of any text, as the old `PUT /services/{name}` does: lower
    /// case, every run of other characters one hyphen, cut to 63 characters.
    ///
    /// Two texts with one slug are one service.
    ///
    /// # Errors
    ///
    /// [`NameError::Empty`] when nothing usable is left, and
    /// [`NameError::LooksLikeId`].
    pub fn slug(text: &str) -> Result<Self, NameError> {
        let mut slug = String::new();
        for letter in text.chars().flat_map(char::to_lowercase) {
            if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
                slug.push(letter);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() == LABEL_LENGTH_MAX {
                break;
            }
        }
        slug.trim_end_matches('-').parse()
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let label: Label = text.parse()?;
        if Uuid::try_parse(text).is_ok() {
            return Err(NameError::LooksLikeId);
        }
        Ok(Self(label))
    }
}

/// A project's name. Every row of the store carries one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(Label);

impl ProjectName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Default for ProjectName {
    /// `default`: what everything belongs to unless told.
    fn default() -> Self {
        Self(Label("default".to_owned()))
    }
}

impl FromStr for ProjectName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests;
