//! Whether everything is there that this process needs, and how that is said.

use std::time::Duration;

use shipway_store::Store;
use tokio::time::timeout;

use crate::config::ReadyCheck;

/// Longest one check may take.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// What was found: each check's name and what is missing.
#[derive(Debug)]
pub struct Readiness(Vec<(&'static str, Result<(), String>)>);

impl Readiness {
    /// Asks the store whether it can be written, and then every check, each for two
    /// seconds at most.
    pub async fn look(store: &Store, checks: &[ReadyCheck]) -> Self {
        let writable = async { store.check_writable().await.map_err(|error| error.to_string()) };
        let mut found = vec![("store", in_time(writable).await)];
        for check in checks {
            found.push((check.name, in_time((check.check)()).await));
        }
        Self(found)
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing().is_none()
    }

    /// The name of the first check that found something missing.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.0.iter().find_map(|(name, result)| result.is_err().then_some(*name))
    }

    /// Whether the check of this name is content; `None` when there is none.
    pub(crate) fn of(&self, check: &str) -> Option<bool> {
        self.0.iter().find_map(|(name, result)| (*name == check).then_some(result.is_ok()))
    }

    /// A line for each check, with what is missing if `reasons`.
    #[must_use]
    pub fn lines(&self, reasons: bool) -> String {
        let line = |(name, result): &(&str, Result<(), String>)| match result {
            Ok(()) => format!("[+] {name} ok\n"),
            Err(why) if reasons => format!("[-] {name} failed: {why}\n"),
            Err(_) => format!("[-] {name} failed\n"),
        };
        self.0.iter().map(line).collect()
    }

    /// The last line of an answer.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        verdict(self.is_ready())
    }
}

pub(crate) const fn verdict(is_ready: bool) -> &'static str {
    if is_ready { "ok\n" } else { "not ready\n" }
}

async fn in_time(check: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(CHECK_TIME, check).await.unwrap_or_else(|_| Err("no answer within 2 s".to_owned()))
}
