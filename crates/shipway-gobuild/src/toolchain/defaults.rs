//! What the go command of a tool chain is set to: proxies, checksum database.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::Toolchain;

/// The go command only reads two files for it.
const LIMIT: Duration = Duration::from_secs(20);

/// Settings of the go command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Defaults {
    /// `GOPROXY`, `direct` included.
    #[serde(rename = "GOPROXY")]
    pub proxy: String,
    /// `GOSUMDB`.
    #[serde(rename = "GOSUMDB")]
    pub checksums: String,
    /// `GONOSUMDB`.
    #[serde(rename = "GONOSUMDB", default)]
    pub exempt: String,
}

/// Asks a tool chain's go command, with this process's environment: a machine's own settings are
/// an operator's.
///
/// # Errors
///
/// It cannot be run, fails, hangs, or says something else.
pub async fn defaults(toolchain: &Toolchain) -> io::Result<Defaults> {
    let mut command = Command::new(toolchain.root.join("bin/go"));
    command.args(["env", "-json", "GOPROXY", "GOSUMDB", "GONOSUMDB"]);
    command.env("GOTOOLCHAIN", "local").current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let done = timeout(LIMIT, command.output()).await.map_err(|_| io::Error::other("go env does not end"))??;
    if !done.status.success() {
        return Err(io::Error::other(format!("go env: {}", String::from_utf8_lossy(&done.stderr).trim())));
    }
    serde_json::from_slice(&done.stdout).map_err(io::Error::other)
}
