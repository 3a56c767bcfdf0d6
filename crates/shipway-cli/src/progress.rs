//! A sign of life for whatever takes longer than a second; on terminals only.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::units;

/// What is done sooner needs no sign.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// Bytes that an upload has sent so far.
pub(crate) type Sent = Arc<AtomicU64>;

/// Waits for `work`, with a spinner beside `message` when it takes long, and how much was
/// sent if anything is.
pub(crate) async fn during<T>(visible: bool, message: String, sent: Option<&Sent>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if !visible {
        return work.await;
    }
    if let Ok(done) = tokio::time::timeout(PATIENCE, work.as_mut()).await {
        return done;
    }
    let spinner = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}{sent} ({elapsed})");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let sent = sent.map(Arc::clone);
    spinner.set_style(style.with_key("sent", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        if let Some(bytes) = sent.as_ref().map(|sent| sent.load(Ordering::Relaxed)) {
            // The terminal's own errors are nobody's concern.
            write!(out, ": {} sent", units::size(bytes)).unwrap_or_default();
        }
    }));
    spinner.set_message(message);
    spinner.enable_steady_tick(TICK);
    let done = work.await;
    spinner.finish_and_clear();
    done
}
