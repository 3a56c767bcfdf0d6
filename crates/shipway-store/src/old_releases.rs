//! Forgetting releases that nobody goes back to.
//!
//! Which of a service's releases are too many is the caller's to say. Which of them may
//! not go whatever is said is decided here, in one transaction and under the service's
//! lock: the one that is live or would be after `start`, one with a container, one that is
//! being made or that somebody has asked to go back to, and the newest, from whose number
//! the next one's is counted.

use shipway_model::{ServiceId, TaskPayload};

use crate::door::Tx;
use crate::query::query;
use crate::values::{page, parse, subject_of};
use crate::{Store, StoreError};

impl Store {
    /// Services of all projects that have more releases than `most`, in the order of their
    /// ids, after `after`, at most `limit` of them and at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_services_with_releases(
        &self,
        most: u32,
        after: Option<ServiceId>,
        limit: u32,
    ) -> Result<Vec<ServiceId>, StoreError> {
        let after = after.map_or_else(String::new, |id| id.to_string());
        let rows: Vec<String> = self
            .read(async |db| {
                let sql = "SELECT service FROM release WHERE service > $1
                     GROUP BY service HAVING count(*) > $2 ORDER BY service LIMIT $3";
                Ok(query(sql).bind(&after).bind(i64::from(most)).bind(page(limit)).scalars(db).await?)
            })
            .await?;
        rows.iter().map(|id| parse("a service's id", id)).collect()
    }

    /// Forgets those of these releases that nothing needs (see the head of this file).
    /// Returns how many there were. It is no event: whoever looks at the list of releases
    /// sees it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn forget_releases(&self, service: ServiceId, numbers: &[u32]) -> Result<u64, StoreError> {
        let numbers = numbers.to_vec();
        self.write(move |tx| Box::pin(tx.forget_releases(service, numbers))).await
    }
}

impl Tx {
    async fn forget_releases(&mut self, service: ServiceId, numbers: Vec<u32>) -> Result<u64, StoreError> {
        self.lock(subject_of(service)).await?;
        let asked_for = self.asked_back(service).await?;
        let mut forgotten = 0;
        for number in numbers.into_iter().filter(|number| !asked_for.contains(number)) {
            forgotten += query(
                "DELETE FROM release WHERE service = $1 AND number = $2 AND state IN ('retired', 'failed')
                   AND number < (SELECT max(r.number) FROM release r WHERE r.service = $1)
                   AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.service = $1 AND i.release = $2)
                   AND NOT EXISTS (SELECT 1 FROM service s WHERE s.id = $1 AND s.release = $2)",
            )
            .bind(service.to_string())
            .bind(i64::from(number))
            .execute(self.db())
            .await?;
        }
        Ok(forgotten)
    }

    /// Releases that somebody has asked to go back to. A task that cannot be read may mean
    /// any of them, and ends soon: until then the error is the answer.
    async fn asked_back(&mut self, service: ServiceId) -> Result<Vec<u32>, StoreError> {
        let payloads: Vec<String> = query(
            "SELECT payload FROM task WHERE subject = $1 AND state IN ('queued', 'running') AND kind = 'rollback'",
        )
        .bind(service.to_string())
        .scalars(self.db())
        .await?;
        let read = |text: &String| crate::values::from_json("a task's payload", text);
        let payloads: Vec<TaskPayload> = payloads.iter().map(read).collect::<Result<_, _>>()?;
        let number = |payload: TaskPayload| match payload {
            TaskPayload::Rollback { release } => Some(release),
            _ => None,
        };
        Ok(payloads.into_iter().filter_map(number).collect())
    }
}
