//! A build as it is written down for whoever makes it: everything the plan is made from but
//! the place.

use serde::{Deserialize, Serialize};

use crate::key::BuildKey;
use crate::recipe::{Recipe, RecipeError};
use crate::resolved::Resolved;

/// Raised when a sandbox of this version would make other bytes by the same commands.
pub const SANDBOX_GENERATION: u32 = 1;

/// What is built. As JSON it is kept with the build, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The recipe, whole: the one who makes the build may know another of its name.
    pub recipe: Recipe,
    /// What was asked for, settled.
    pub resolved: Resolved,
    /// The Go that builds it: `1.26.8`.
    pub go: String,
    /// See [`BuildKey::of`].
    pub sandbox: u32,
}

/// A spec that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not JSON of this form.
    #[error("not the spec of a build: {0}")]
    Form(#[from] serde_json::Error),
    /// Its recipe is not one.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

impl Spec {
    /// Of a settled request, to be built by this Go.
    #[must_use]
    pub fn new(recipe: Recipe, resolved: Resolved, go: impl Into<String>) -> Self {
        Self { recipe, resolved, go: go.into(), sandbox: SANDBOX_GENERATION }
    }

    /// Its key, as this version makes it.
    #[must_use]
    pub fn key(&self) -> BuildKey {
        BuildKey::of(&self.recipe, &self.resolved, &self.go, self.sandbox)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers only")
    }

    /// Reads one back. Its words are checked again: they become source text.
    ///
    /// # Errors
    ///
    /// See [`SpecError`].
    pub fn parse(json: &str) -> Result<Self, SpecError> {
        let spec: Self = serde_json::from_str(json)?;
        Recipe::parse(&serde_json::to_string(&spec.recipe)?)?;
        Ok(spec)
    }
}

/// The label of workers that have a Go of this version, which a build by it asks for.
#[must_use]
pub fn go_label(go: &str) -> String {
    format!("go={go}")
}

/// The version of Go that a worker's label tells of.
#[must_use]
pub fn go_of_label(label: &str) -> Option<&str> {
    label.strip_prefix("go=")
}
