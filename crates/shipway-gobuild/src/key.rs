//! The build key: one name for everything that decides a binary's bytes.
//!
//! Equal keys mean equal bytes, so two requests with one key are one build, and an artifact under
//! a key is never made again. It is opaque to clients. Whatever is added to what decides the
//! bytes must enter here; whatever does not decide them (which proxy served a module, who
//! asked) must not.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::recipe::Recipe;
use crate::resolved::Resolved;

/// Changes when the plan makes other commands of the same input. Raise it with any change of
/// `plan` that changes a binary's bytes; golden tests of the plan are the reminder.
pub const PLAN_GENERATION: u32 = 1;

/// Hex SHA-256, 64 letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildKey(String);

/// Not a build key: 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a build key")]
pub struct NotAKey;

impl BuildKey {
    /// The key of a build by this Go (`1.26.8`) in sandboxes of this generation.
    ///
    /// `sandbox` is the number an operator or a release raises when the same commands would no
    /// longer give the same bytes for a reason that nothing else here names.
    #[must_use]
    pub fn of(recipe: &Recipe, resolved: &Resolved, go: &str, sandbox: u32) -> Self {
        let input = Input { plan: PLAN_GENERATION, sandbox, go, recipe: &recipe.digest(), resolved };
        let json = serde_json::to_vec(&input).expect("texts and numbers only");
        Self(hex(&Sha256::digest(json)))
    }

    /// Reads a key somebody names.
    ///
    /// # Errors
    ///
    /// Not a key.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let fits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(fits) { Ok(Self(text.to_owned())) } else { Err(NotAKey) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything that decides the bytes, in an order that never changes.
#[derive(Serialize)]
struct Input<'a> {
    plan: u32,
    sandbox: u32,
    go: &'a str,
    recipe: &'a str,
    resolved: &'a Resolved,
}

impl fmt::Display for BuildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BuildKey {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        Self::parse(&text)
    }
}

impl From<BuildKey> for String {
    fn from(key: BuildKey) -> Self {
        key.0
    }
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
