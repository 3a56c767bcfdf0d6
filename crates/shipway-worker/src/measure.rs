//! What is counted. Names are `shipway_worker_<noun>_<unit>`, labels few and small.

use std::time::Duration;

use metrics::{counter, histogram};

/// How a task left the worker's hands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left {
    Done,
    Failed,
    GivenBack,
    Lost,
}

impl Left {
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::GivenBack => "given_back",
            Self::Lost => "lost",
        }
    }
}

/// One task has left the worker's hands.
pub(crate) fn task(kind: &'static str, left: Left) {
    counter!("shipway_worker_tasks_total", "kind" => kind, "outcome" => left.word()).increment(1);
}

/// A deploy took so long from claim to answer.
pub(crate) fn deploy(took: Duration, left: Left) {
    histogram!("shipway_worker_deploy_duration_seconds", "outcome" => left.word()).record(took.as_secs_f64());
}

/// A container that died was started again.
pub(crate) fn restart() {
    counter!("shipway_worker_restarts_total").increment(1);
}
