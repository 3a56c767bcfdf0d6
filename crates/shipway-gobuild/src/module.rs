//! Module paths, import paths and versions, as Go spells them.
//!
//! These strings come from strangers and end in a generated source file, in arguments of the
//! go command, in URLs of a module proxy and in paths of its cache. So each is a type that can
//! only be had by a check, and the checks are Go's own (`golang.org/x/mod/module`), which
//! leave no room for a quote, a newline, a `..`, a local path or a leading `-`.
//!
//! Reading order: [`path`] (what a path may be), [`version`] (semantic versions and their
//! order), [`pseudo`](Version::is_pseudo), [`escape`] (how both are written in a URL).

mod error;
pub mod escape;
pub mod path;
mod semver;
pub mod version;

pub use error::ModuleError;
pub(crate) use error::shown;
pub(crate) use path::is_digits;
pub use path::{ImportPath, ModulePath};
pub use version::Version;
