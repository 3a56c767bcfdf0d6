//! Repairs: asked for by what is seen (a crash, a start-up), not by users, often
//! many times over. One that is queued already does for all of them.

use std::time::Duration;

use shipway_model::{ServiceId, TaskPayload};

use crate::door::{Durability, Tx};
use crate::query::query;
use crate::values::{micros, subject_of};
use crate::{Store, StoreError, services};

/// Who asks for a repair, in the task's row.
const ACTOR: &str = "system";

impl Store {
    /// Enqueues a `repair` of a service, not before `delay` from now, unless one
    /// is already queued for that time or earlier. One that is queued for later
    /// is brought forward. A running one does not count: it may have looked
    /// before that which asks happened.
    ///
    /// Nothing is done for a service that is being deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such service,
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn request_repair(&self, service: ServiceId, delay: Duration) -> Result<(), StoreError> {
        let delay = micros(delay);
        // Whoever starts after a power cut compares everything, and asks again.
        self.write_surviving(Durability::Host, move |tx| Box::pin(tx.request_repair(service, delay))).await
    }
}

impl Tx {
    async fn request_repair(&mut self, service: ServiceId, delay: i64) -> Result<(), StoreError> {
        self.lock(subject_of(service)).await?;
        let found = services::find(self.db(), &service.to_string()).await?.ok_or(StoreError::NotFound("service"))?;
        if self.is_being_deleted(service).await? {
            return Ok(());
        }
        if !self.bring_repair_forward(service, delay).await? {
            self.enqueue(&found, &TaskPayload::Repair, ACTOR, delay).await?;
        }
        Ok(())
    }

    /// Returns whether a repair is queued; it is then due in `delay` at the latest.
    async fn bring_repair_forward(&mut self, service: ServiceId, delay: i64) -> Result<bool, StoreError> {
        let queued: bool = query(
            "SELECT EXISTS (SELECT 1 FROM task
                 WHERE subject = $1 AND state = 'queued' AND kind = 'repair')",
        )
        .bind(service.to_string())
        .scalar(self.db())
        .await?;
        if !queued {
            return Ok(false);
        }
        let moved = query(
            "UPDATE task SET not_before = {now} + $2
             WHERE subject = $1 AND state = 'queued' AND kind = 'repair'
               AND not_before > {now} + $2",
        )
        .bind(service.to_string())
        .bind(delay)
        .execute(self.db())
        .await?;
        self.changed.tasks |= moved > 0;
        Ok(true)
    }
}
