//! A version of a module: canonical, and ordered.
//!
//! Canonical is `vX.Y.Z`, with a pre-release or without, and with no build metadata but
//! `+incompatible`: what `go.mod` may hold and what a module proxy names.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{ModuleError, shown};
use super::path::{ModulePath, is_digits};
use super::semver;

/// Longest version accepted, in bytes.
const VERSION_BYTES_MAX: usize = 256;
const INCOMPATIBLE: &str = "+incompatible";
/// `yyyymmddhhmmss`.
const PSEUDO_TIME_DIGITS: usize = 14;

/// A canonical version. Its order is that of semantic versioning; two that differ only in
/// `+incompatible` are ordered by their text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// Reads a canonical version.
    ///
    /// # Errors
    ///
    /// Not semantic, not complete (`v1.2`), or with build metadata other than `+incompatible`.
    pub fn parse(text: &str) -> Result<Self, ModuleError> {
        let refuse = |reason| Err(ModuleError::Version { given: shown(text), reason });
        if text.len() > VERSION_BYTES_MAX {
            return refuse("it is too long");
        }
        let Some(parts) = semver::parse(text) else {
            return refuse("it is not a semantic version (v1.2.3)");
        };
        if parts.patch.is_none() {
            return refuse("it is not complete (v1.2.3)");
        }
        if !matches!(parts.build, "" | "incompatible") {
            return refuse("build metadata is not accepted");
        }
        Ok(Self(text.to_owned()))
    }

    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first number; `u64::MAX` stands for all that are larger.
    #[must_use]
    pub fn major(&self) -> u64 {
        self.parts().major.parse().unwrap_or(u64::MAX)
    }

    /// Compares by precedence alone, to which `+incompatible` is nothing.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        semver::compare(&self.parts(), &other.parts())
    }

    /// Whether it has a pre-release: `v1.2.0-rc.1`, and every pseudo-version.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.parts().prerelease.is_empty()
    }

    /// Whether it is a `+incompatible` one: of a major above 1 in a repository without `go.mod`.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        self.0.ends_with(INCOMPATIBLE)
    }

    /// Whether it names a commit: `v0.0.0-20060102150405-abcdef123456` and its two other forms.
    #[must_use]
    pub fn is_pseudo(&self) -> bool {
        self.pseudo_time().is_some()
    }

    /// The time of the commit that it names, `yyyymmddhhmmss`.
    #[must_use]
    pub fn pseudo_time(&self) -> Option<&str> {
        let (before, revision) = self.parts().prerelease.rsplit_once('-')?;
        if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let split = before.len().checked_sub(PSEUDO_TIME_DIGITS)?;
        let (base, time) = (before.get(..split)?, before.get(split..)?);
        let plain = base.is_empty() && self.has_zero_core();
        (is_digits(time) && (plain || base == "0." || base.ends_with(".0."))).then_some(time)
    }

    /// Whether a module of this path can have this version: majors agree.
    ///
    /// # Errors
    ///
    /// They do not; the error says which would.
    pub fn check_major(&self, path: &ModulePath) -> Result<(), ModuleError> {
        let wanted = path.major();
        let number = wanted.trim_start_matches(['/', '.']).trim_end_matches("-unstable");
        let own = format!("v{}", self.parts().major);
        let fits = match number {
            "" => self.is_incompatible() || self.major() < 2,
            // Before gopkg.in had versions to serve it served commits as v0.0.0.
            "v1" if wanted.starts_with(".v1") && self.0.starts_with("v0.0.0-") => true,
            number => own == number,
        };
        if fits {
            return Ok(());
        }
        let expected = if number.is_empty() { "v0 or v1".to_owned() } else { number.to_owned() };
        Err(ModuleError::Major { path: path.to_string(), version: self.0.clone(), expected })
    }

    /// Whether the query `v1` or `v1.2` means this version among others: not a pre-release of
    /// what the query itself stands for (`v1.2.0-rc.1` is below `v1.2`).
    #[must_use]
    pub fn matches_prefix(&self, prefix: &str) -> bool {
        let Some((wanted, own)) = semver::parse(prefix).map(|wanted| (wanted, self.parts())) else {
            return false;
        };
        let begins = own.major == wanted.major && wanted.minor.is_none_or(|minor| own.minor == Some(minor));
        begins && semver::compare(&own, &wanted).is_ge()
    }

    fn has_zero_core(&self) -> bool {
        let parts = self.parts();
        parts.minor == Some("0") && parts.patch == Some("0")
    }

    fn parts(&self) -> semver::Parts<'_> {
        semver::parse(&self.0).expect("checked when the version was made")
    }
}

/// Whether a query is a version's beginning: `v1`, `v1.2`.
#[must_use]
pub fn is_prefix(text: &str) -> bool {
    semver::parse(text).is_some_and(|parts| parts.patch.is_none())
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        semver::compare(&self.parts(), &other.parts()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Version {
    type Error = ModuleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

#[cfg(test)]
mod tests;
