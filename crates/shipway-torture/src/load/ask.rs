//! One question to a part, on a connection of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::part::api::{Answer, Ask};

/// Longer than a store makes anybody wait.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks; an error says that nobody knows what became of it.
///
/// # Errors
///
/// Nobody is there, or was killed before it answered.
pub async fn ask(socket: &Path, question: &Ask) -> anyhow::Result<Answer> {
    timeout(LIMIT, converse(socket, question)).await.context("no answer in time")?
}

async fn converse(socket: &Path, question: &Ask) -> anyhow::Result<Answer> {
    let mut connection = UnixStream::connect(socket).await?;
    let mut bytes = serde_json::to_vec(question)?;
    bytes.push(b'\n');
    connection.write_all(&bytes).await?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).await?;
    serde_json::from_str(&line).context("the answer was cut off")
}

/// Tasks that are queued, and tasks at work.
///
/// # Errors
///
/// No answer, or one that says why not.
pub async fn counts(socket: &Path) -> anyhow::Result<(u64, u64)> {
    match ask(socket, &Ask::Counts).await? {
        Answer::Counts { queued, running, .. } => Ok((queued, running)),
        other => bail!("{other:?}"),
    }
}

/// The same, and instances that somebody has to deal with.
///
/// # Errors
///
/// No answer, or one that says why not.
pub async fn unsettled(socket: &Path) -> anyhow::Result<(u64, u64, u64)> {
    match ask(socket, &Ask::Unsettled).await? {
        Answer::Counts { queued, running, unsettled } => Ok((queued, running, unsettled)),
        other => bail!("{other:?}"),
    }
}
