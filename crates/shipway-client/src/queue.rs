//! The queue's routes: tasks and workers.

use http::Method;
use shipway_api_types::{Page, Task, TaskDetail, TaskState, Worker};

use crate::request::Call;
use crate::routes::{below, with_query};
use crate::{Client, Error};

/// Which tasks to list; all that is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// How far they have come.
    pub state: Option<TaskState>,
    /// Name or id of the service.
    pub service: Option<String>,
    /// What they do.
    pub kind: Option<String>,
    /// The worker that had them last.
    pub worker: Option<String>,
}

impl Client {
    /// One page of tasks, what was asked for last first.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn tasks(&self, query: &TaskQuery, limit: u32, cursor: Option<&str>) -> Result<Page<Task>, Error> {
        let path = with_query(
            "/v1/tasks".to_owned(),
            &[
                ("state", query.state.map(|state| state.word().to_owned())),
                ("service", query.service.clone()),
                ("kind", query.kind.clone()),
                ("worker", query.worker.clone()),
                ("limit", Some(limit.to_string())),
                ("cursor", cursor.map(str::to_owned)),
            ],
        );
        self.json(Call::new(Method::GET, path)).await
    }

    /// A task, with its history.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn task(&self, id: &str) -> Result<TaskDetail, Error> {
        self.json(Call::new(Method::GET, below("/v1/tasks", id, ""))).await
    }

    /// Has a task done anew that was given up; returns the new one.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn requeue_task(&self, id: &str) -> Result<Task, Error> {
        self.json(Call::new(Method::POST, below("/v1/tasks", id, "/requeue"))).await
    }

    /// All workers.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn workers(&self) -> Result<Vec<Worker>, Error> {
        let page: Page<Worker> = self.json(Call::new(Method::GET, "/v1/workers")).await?;
        Ok(page.items)
    }

    /// Gives a worker no more tasks.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn cordon_worker(&self, id: &str) -> Result<Worker, Error> {
        self.json(Call::new(Method::POST, below("/v1/workers", id, "/cordon"))).await
    }

    /// Gives a worker tasks again.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn uncordon_worker(&self, id: &str) -> Result<Worker, Error> {
        self.json(Call::new(Method::POST, below("/v1/workers", id, "/uncordon"))).await
    }

    /// Has a worker finish or give back what it has, and take nothing more.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn drain_worker(&self, id: &str) -> Result<Worker, Error> {
        self.json(Call::new(Method::POST, below("/v1/workers", id, "/drain"))).await
    }
}
