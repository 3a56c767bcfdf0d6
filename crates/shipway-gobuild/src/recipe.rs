//! What is built, as data: the program, how a plugin enters it, and the flags.
//!
//! A recipe knows nothing of Go's command and the code that uses it knows nothing of Caddy; two
//! recipes come with the crate, so that the second proves it of the first. An operator may add
//! one as a file of the same form, which is checked like anything that ends in source text.

pub mod env;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::module::{ImportPath, ModuleError, ModulePath};

/// A program that can be built with plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the recipe, of the binary and of the module that is generated: `caddy`.
    pub name: String,
    /// The program's module. A version of another major replaces its `/vN`.
    pub module: ModulePath,
    /// What the generated `main` calls.
    pub command: Entry,
    /// Packages of the program that are imported for their effect, beneath its module: `modules/standard`.
    #[serde(default)]
    pub standard: Vec<String>,
    /// Packages of the standard library imported for their effect: `time/tzdata`.
    #[serde(default)]
    pub extra: Vec<String>,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Linker flags.
    #[serde(default)]
    pub ldflags: Vec<String>,
    /// What a Windows binary says of itself; none, and it says nothing.
    #[serde(default)]
    pub windows: Option<Windows>,
    /// Arguments with which the built program is run to see that it runs, each a list of its
    /// own; nothing but binaries for the worker's own platform is run.
    #[serde(default)]
    pub verify: Vec<Vec<String>>,
    /// How a plugin announces itself in its source; none, and any package may be a plugin.
    #[serde(default)]
    pub registration: Option<Registration>,
    /// Variables of the operator's own for the go command, as [`env`] lets them through. Without
    /// any, the recipe is written as before there were any, so that keys stay what they were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The function that the generated `main` calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its package, beneath the program's module: `cmd`.
    pub package: String,
    /// The name it is imported by: `caddycmd`.
    pub alias: String,
    /// Its name: `Main`.
    pub function: String,
}

/// Texts of a Windows binary's version resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// `CompanyName`.
    pub company: String,
    /// `ProductName`.
    pub product: String,
    /// `FileDescription`.
    pub description: String,
    /// `LegalCopyright`.
    pub copyright: String,
}

/// How a plugin announces itself: a call with a value whose method tells its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The function called: `RegisterModule`.
    pub function: String,
    /// The method that tells the id: `CaddyModule`.
    pub method: String,
    /// The field of its result that is the id: `ID`.
    pub field: String,
}

/// A recipe that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecipeError {
    /// Not JSON of this form.
    #[error("not a recipe: {0}")]
    Form(String),
    /// A word that would not be safe, or would not compile, where it is used.
    #[error("recipe {recipe}: {field} {value:?} cannot be used")]
    Word {
        /// The recipe.
        recipe: String,
        /// The field of it.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// A variable that a build cannot have.
    #[error("recipe {recipe}")]
    Env {
        /// The recipe.
        recipe: String,
        /// Which, and why.
        #[source]
        source: env::EnvError,
    },
    /// Its packages make no import path.
    #[error("recipe {recipe}")]
    Path {
        /// The recipe.
        recipe: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
}

impl Recipe {
    /// Caddy, built as xcaddy does.
    #[must_use]
    pub fn caddy() -> Self {
        Self::parse(include_str!("../recipes/caddy.json")).expect("tested")
    }

    /// k6, built as xk6 does.
    #[must_use]
    pub fn k6() -> Self {
        Self::parse(include_str!("../recipes/k6.json")).expect("tested")
    }

    /// The recipe of this name that comes with the crate.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::caddy(), Self::k6()].into_iter().find(|recipe| recipe.name == name)
    }

    /// Reads and checks a recipe.
    ///
    /// # Errors
    ///
    /// See [`RecipeError`].
    pub fn parse(json: &str) -> Result<Self, RecipeError> {
        let recipe: Self = serde_json::from_str(json).map_err(|error| RecipeError::Form(error.to_string()))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The same with these variables.
    ///
    /// # Errors
    ///
    /// One of them cannot be had.
    pub fn with_env(self, variables: BTreeMap<String, String>) -> Result<Self, env::EnvError> {
        env::check(&variables)?;
        Ok(Self { env: variables, ..self })
    }

    /// What a build of it depends on, in one word: hex SHA-256 over its JSON.
    #[must_use]
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("a recipe has only texts");
        crate::key::hex(&Sha256::digest(json))
    }

    /// The package at `relative` in the program's module at `module`.
    pub(crate) fn package(module: &ModulePath, relative: &str) -> String {
        if relative.is_empty() { module.to_string() } else { format!("{module}/{relative}") }
    }

    fn check(&self) -> Result<(), RecipeError> {
        let refuse =
            |field, value: &str| RecipeError::Word { recipe: self.name.clone(), field, value: value.to_owned() };
        let each = |field, ok: fn(&str) -> bool, values: &[&str]| {
            values.iter().find(|value| !ok(value)).map_or(Ok(()), |value| Err(refuse(field, value)))
        };
        let list = |values: &'static str, words: &[String], ok: fn(&str) -> bool| {
            words.iter().find(|word| !ok(word)).map_or(Ok(()), |word| Err(refuse(values, word)))
        };
        each("name", is_name, &[&self.name])?;
        each("command", is_identifier, &[&self.command.alias, &self.command.function])?;
        list("extra", &self.extra, is_standard_package)?;
        list("tags", &self.tags, is_tag)?;
        list("ldflags", &self.ldflags, is_flag)?;
        if let Some(it) = &self.registration {
            each("registration", is_identifier, &[&it.function, &it.method, &it.field])?;
        }
        env::check(&self.env).map_err(|source| RecipeError::Env { recipe: self.name.clone(), source })?;
        let packages = self.standard.iter().chain([&self.command.package]);
        for relative in packages {
            let path = Self::package(&self.module, relative);
            ImportPath::parse(&path).map_err(|source| RecipeError::Path { recipe: self.name.clone(), source })?;
        }
        Ok(())
    }
}

/// A DNS label: it becomes a module's name, a file's and a URL's part.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_identifier(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_tag(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}

fn is_standard_package(text: &str) -> bool {
    let fits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.split('/').all(fits)
}

/// One word: a space would make two of it where the linker's flags are joined.
fn is_flag(text: &str) -> bool {
    text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_that_come_along_can_be_used() {
        assert_eq!(Recipe::caddy().command.function, "Main");
        assert_eq!(Recipe::named("k6").unwrap().module.as_str(), "go.k6.io/k6");
        assert_eq!(Recipe::named("nothing"), None);
        assert_ne!(Recipe::caddy().digest(), Recipe::k6().digest());
    }

    #[test]
    fn words_that_would_leave_their_place_are_refused() {
        let with = |change: &dyn Fn(&mut Recipe)| {
            let mut recipe = Recipe::caddy();
            change(&mut recipe);
            Recipe::parse(&serde_json::to_string(&recipe).unwrap())
        };
        assert!(with(&|_| ()).is_ok());
        assert!(with(&|it| it.name = "../caddy".into()).is_err());
        assert!(with(&|it| it.command.alias = "a \"b\"".into()).is_err());
        assert!(with(&|it| it.command.function = "Main(); os.Exit".into()).is_err());
        assert!(with(&|it| it.command.package = "../cmd".into()).is_err());
        assert!(with(&|it| it.standard = vec!["a\"\n".into()]).is_err());
        assert!(with(&|it| it.extra = vec!["time/tzdata\"".into()]).is_err());
        assert!(with(&|it| it.tags = vec!["a,b".into()]).is_err());
        assert!(with(&|it| it.ldflags = vec!["-X a b".into()]).is_err());
        assert!(with(&|it| it.ldflags = vec!["a".into()]).is_err());
        assert!(with(&|it| drop(it.env.insert("GOAMD64".into(), "v3".into()))).is_ok());
        assert!(with(&|it| drop(it.env.insert("GOFLAGS".into(), "-toolexec=x".into()))).is_err());
    }
}
