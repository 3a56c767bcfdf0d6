//! What one process does.

use super::ConfigError;
use super::values::Field;

/// The roles of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) api: bool,
    pub(crate) worker: bool,
    pub(crate) janitor: bool,
    pub(crate) proxy: bool,
}

impl Roles {
    pub(crate) const ALL: Self = Self { api: true, worker: true, janitor: true, proxy: true };
    const NONE: Self = Self { api: false, worker: false, janitor: false, proxy: false };

    /// As in the setting.
    pub(crate) fn words(self) -> String {
        let all = [(self.api, "api"), (self.worker, "worker"), (self.janitor, "janitor"), (self.proxy, "proxy")];
        let words: Vec<&str> = all.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
        words.join(",")
    }

    pub(super) fn parse(field: &Field<'_>) -> Result<Self, ConfigError> {
        let expected = || field.bad("`all`, or some of api, worker, janitor, proxy, comma-separated, are expected");
        let mut roles = Self::NONE;
        for word in field.words() {
            match word {
                "all" => roles = Self::ALL,
                "api" => roles.api = true,
                "worker" => roles.worker = true,
                "janitor" => roles.janitor = true,
                "proxy" => roles.proxy = true,
                _ => return Err(expected()),
            }
        }
        if roles == Self::NONE { Err(expected()) } else { Ok(roles) }
    }
}
