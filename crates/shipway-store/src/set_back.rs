//! A clock that was set back.
//!
//! Times in rows are the database's. When its clock goes back by an hour (a host whose
//! clock was wrong, put right), what was to be done at once then would wait for an hour
//! now. A queued task that was touched in the future says that this has happened: it is
//! due now. Waits that are cut short by it cost an early try.

use crate::door::Tx;
use crate::query::query;
use crate::{Store, StoreError};

/// A task that waits for a time, and was asked for or claimed at one that is yet to come.
macro_rules! of_the_future {
    () => {
        "state = 'queued' AND not_before > {now} AND (created_at > {now} OR claimed_at > {now})"
    };
}

impl Store {
    /// Makes everything due that waits for a time which it was given by a clock that has
    /// been set back since.
    pub(crate) async fn forget_the_future(&self) -> Result<(), StoreError> {
        let sql = concat!("SELECT EXISTS (SELECT 1 FROM task WHERE ", of_the_future!(), ")");
        let any: bool = self.read(async |db| Ok(query(sql).scalar(db).await?)).await?;
        if any { self.write(|tx| Box::pin(tx.forget_the_future())).await } else { Ok(()) }
    }
}

impl Tx {
    async fn forget_the_future(&mut self) -> Result<(), StoreError> {
        let sql = concat!("UPDATE task SET not_before = {now} WHERE ", of_the_future!());
        let tasks = query(sql).execute(self.db()).await?;
        tracing::warn!(tasks, "the database's clock was set back: what waited for a time is due now");
        self.changed.tasks |= tasks > 0;
        Ok(())
    }
}
