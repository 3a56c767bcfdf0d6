//! `--watch`: a list as it changes.
//!
//! A person at a terminal gets the table, drawn anew; everybody else gets a line for each
//! item when it is first seen and when it changes, so that it can be piped and kept.

use std::time::Duration;

use shipway_client::Error;
use tokio::time::Instant;

use super::Context;
use crate::failure::Failure;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks in a row that bring nothing: about as long as an upgrade may take.
const FAILURES_MAX: u32 = 60;
/// Clears a terminal and goes to its beginning.
pub(super) const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Asks again and again, until the reader is gone. `draw` is given what came and the time since
/// the first look.
pub(super) async fn watch<T>(
    context: &mut Context,
    ask: impl AsyncFn() -> Result<T, Error>,
    mut draw: impl FnMut(&mut Context, T, Duration) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let began = Instant::now();
    let mut failures = None;
    loop {
        match ask().await {
            Ok(seen) => {
                failures = Some(0);
                draw(context, seen, began.elapsed())?;
            }
            // A server that is being upgraded comes back; one that never was there does not.
            Err(error) if passes(&error) && failures.is_some_and(|so_far| so_far < FAILURES_MAX) => {
                failures = failures.map(|so_far| so_far + 1);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(EVERY).await;
    }
}

const fn passes(error: &Error) -> bool {
    match error {
        Error::Broken(_) | Error::Unreachable { .. } => true,
        Error::Refused(problem) => problem.status == 503,
        _ => false,
    }
}
