//! Something moves while one waits: on a terminal, after a second, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What takes less than this needs no show.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows that something is going on, until dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    task: Option<tokio::task::JoinHandle<()>>,
    bar: ProgressBar,
}

impl Progress {
    /// Begins to wait for what `message` says.
    pub(crate) fn begin(shown: bool, message: String) -> Self {
        let bar = ProgressBar::hidden();
        if !shown {
            return Self { task: None, bar };
        }
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            shown.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            shown.enable_steady_tick(Duration::from_millis(100));
        });
        Self { task: Some(task), bar }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.bar.finish_and_clear();
    }
}
