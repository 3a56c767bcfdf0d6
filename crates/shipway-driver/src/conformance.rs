//! The exam of the driver contract: what every driver must pass.
//!
//! A test of a driver makes a [`Candidate`] and calls [`run_all`], or one part at
//! a time. Programs are [`Script`]s, small enough for any POSIX shell, and known
//! to the fake driver, which takes the same exam. Every part removes what it
//! started, and no part waits longer than [`PATIENCE`] for anything.

mod exec;
mod life;
mod logs;
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shipway_model::{ContainerId, Limits};
use uuid::Uuid;

use crate::{Driver, Exit, Ingress, Program, Workload};

pub use exec::{exec_of_no_program_says_so, exec_streams_and_status, exec_with_a_terminal};
pub use life::{
    exit_statuses_are_told, recover_lists_what_there_is, remove_can_be_repeated, start_can_be_repeated,
    stats_show_the_limits, stop_asks_first, stop_kills_the_stubborn, unknown_ids_are_said_to_be,
};
pub use logs::{logs_can_be_followed, logs_can_be_read_from_anywhere};
pub use script::Script;

/// Longest wait for anything that should happen at once; generous for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A driver and the root its containers get.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Who takes the exam.
    pub driver: Arc<dyn Driver>,
}

impl Candidate {
    /// Wraps a driver.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Self { driver }
    }

    /// Makes a workload of a fresh id that plays `script`, without ingress.
    ///
    /// # Panics
    ///
    /// When the driver has no root file system to give.
    pub async fn workload(&self, script: &Script) -> Workload {
        Workload {
            container: ContainerId(Uuid::new_v4()),
            root: self.driver.current_root().await.expect("the driver has a root file system"),
            program: Program::Command { argv: script.argv() },
            env: BTreeMap::from([("EXAM".to_owned(), "yes".to_owned())]),
            limits: Limits::default(),
            ingress: Ingress::None,
            egress: shipway_model::Egress::None,
            labels: BTreeMap::from([("exam".to_owned(), "conformance".to_owned())]),
        }
    }

    /// Starts `script` in a fresh container.
    async fn start(&self, script: &Script) -> ContainerId {
        let workload = self.workload(script).await;
        self.driver.start(&workload, None).await.expect("a valid workload starts");
        workload.container
    }

    /// Waits for the end, within [`PATIENCE`].
    async fn ended(&self, container: ContainerId) -> Exit {
        within(self.driver.wait(container)).await.expect("a container that exists can be waited for")
    }

    /// Ends and removes.
    async fn clear(&self, container: ContainerId) {
        within(self.driver.stop(container, Duration::ZERO)).await.expect("a container can be stopped");
        self.driver.remove(container).await.expect("an ended container can be removed");
    }
}

/// Runs every part, one after the other.
pub async fn run_all(candidate: &Candidate) {
    start_can_be_repeated(candidate).await;
    exit_statuses_are_told(candidate).await;
    stop_asks_first(candidate).await;
    stop_kills_the_stubborn(candidate).await;
    remove_can_be_repeated(candidate).await;
    recover_lists_what_there_is(candidate).await;
    unknown_ids_are_said_to_be(candidate).await;
    stats_show_the_limits(candidate).await;
    logs_can_be_read_from_anywhere(candidate).await;
    logs_can_be_followed(candidate).await;
    exec_streams_and_status(candidate).await;
    exec_with_a_terminal(candidate).await;
    exec_of_no_program_says_so(candidate).await;
}

/// Awaits something that must not take longer than [`PATIENCE`].
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("the driver answers within the patience of the suite")
}
