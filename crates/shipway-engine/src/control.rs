//! Talking to a shim over its `ctl.sock`.

use std::io;
use std::path::Path;
use std::time::Duration;

use shipway_shim::protocol::{Answer, Ask};

use crate::packet::Packets;

/// Longest a living shim takes to answer anything but `Wait` and `Exec`; a stopped
/// one never does.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks once and returns the answer.
pub(crate) async fn ask(socket: &Path, ask: &Ask) -> io::Result<Answer> {
    let conversation = async {
        let packets = Packets::connect(socket)?;
        packets.send(ask, &[]).await?;
        match packets.receive().await? {
            Some((answer, _)) => Ok(answer),
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    };
    tokio::time::timeout(PATIENCE, conversation).await.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Turns a refusal into an error.
pub(crate) fn done(answer: Answer) -> io::Result<Answer> {
    match answer {
        Answer::Refused { errno: 0, detail } => Err(io::Error::other(detail)),
        Answer::Refused { errno, .. } => Err(io::Error::from_raw_os_error(errno)),
        answer => Ok(answer),
    }
}
