//! Logs, stats and exec of what runs: what flows while a service lives and cannot
//! pass through the store. The api relays it; in one process that is a call.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use shipway_driver::{Driver, DriverError, ExecSession, ExecSpec, LogLine, LogQuery, Stats};
use shipway_model::{ContainerId, Instance, InstanceRole, ServiceId, Wanted};
use shipway_store::{Store, StoreError};

/// Most lines that `tail` gives, whatever was asked: they are held in memory.
const TAIL_MAX: usize = 10_000;

/// Lines of a log, oldest first.
pub type LogLines = BoxStream<'static, Result<LogLine, DriverError>>;

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is no such service.
    #[error("there is no such service")]
    NotFound,
    /// It has no container now.
    #[error("the service is not running")]
    NotRunning,
    /// The driver could not.
    #[error("the container engine could not do it")]
    Driver(#[from] DriverError),
    /// The store could not be asked.
    #[error("the store could not be asked")]
    Store(#[from] StoreError),
}

/// What flows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveStreams {
    store: Store,
    driver: Arc<dyn Driver>,
}

/// The containers of a service whose logs are worth reading.
#[derive(Debug)]
struct Readable {
    /// The last one that died, until its successor has been well for a minute.
    grave: Option<ContainerId>,
    live: Option<ContainerId>,
}

impl LiveStreams {
    pub(crate) fn new(store: Store, driver: Arc<dyn Driver>) -> Self {
        Self { store, driver }
    }

    /// Reads a service's log: the lines of the container that died last, if that is
    /// recent, then those of the live one. Following goes on with the container
    /// after that, until the service is stopped or deleted.
    ///
    /// A cursor belongs to one container; with `after` only the live one is read.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] when there is no container to read.
    pub async fn logs(&self, service: ServiceId, query: LogQuery) -> Result<LogLines, LiveError> {
        let Readable { grave, live } = self.readable(service).await?;
        let grave = grave.filter(|_| query.after.is_none());
        let newest = live.or(grave).ok_or(LiveError::NotRunning)?;
        let first = match query.tail {
            Some(tail) => self.tail(grave, live, tail.min(TAIL_MAX), &query).await?,
            None => self.whole(grave, live, &query).await?,
        };
        if !query.follow {
            return Ok(first);
        }
        Ok(first.chain(self.later(service, newest, query)).boxed())
    }

    /// Says what the live container uses.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] when there is none.
    pub async fn stats(&self, service: ServiceId) -> Result<Stats, LiveError> {
        let container = self.live_one(service).await?;
        self.driver.stats(container).await.map_err(gone)
    }

    /// Runs another process in the live container.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] when there is none.
    pub async fn exec(&self, service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        let container = self.live_one(service).await?;
        self.driver.exec(container, spec).await.map_err(gone)
    }

    async fn live_one(&self, service: ServiceId) -> Result<ContainerId, LiveError> {
        let readable = self.readable(service).await?;
        readable.live.ok_or(LiveError::NotRunning)
    }

    async fn readable(&self, service: ServiceId) -> Result<Readable, LiveError> {
        if self.store.find_service_by_id(service).await?.is_none() {
            return Err(LiveError::NotFound);
        }
        let rows = self.store.list_instances(Some(service)).await?;
        let is_grave = |row: &&Instance| row.role == InstanceRole::Draining && row.failures > 0;
        let graves = rows.iter().filter(is_grave);
        let grave = graves.max_by_key(|row| row.started_at);
        let live = rows.iter().find(|row| row.role == InstanceRole::Live);
        Ok(Readable { grave: grave.map(|row| row.container), live: live.map(|row| row.container) })
    }

    async fn whole(
        &self,
        grave: Option<ContainerId>,
        live: Option<ContainerId>,
        query: &LogQuery,
    ) -> Result<LogLines, LiveError> {
        let before = self.read(grave, past(query)).await?;
        let now = self.read(live, query.clone()).await?;
        Ok(before.chain(now).boxed())
    }

    /// The last `tail` lines of both together, then what follows in the live one.
    async fn tail(
        &self,
        grave: Option<ContainerId>,
        live: Option<ContainerId>,
        tail: usize,
        query: &LogQuery,
    ) -> Result<LogLines, LiveError> {
        let mut last = LogQuery { tail: Some(tail), ..past(query) };
        let now: Vec<LogLine> = self.read(live, last.clone()).await?.try_collect().await?;
        last.tail = Some(tail.saturating_sub(now.len()));
        let mut lines: Vec<LogLine> = self.read(grave, last).await?.try_collect().await?;
        let after = now.last().map(|line| line.cursor).or(query.after);
        lines.extend(now);
        let lines = stream::iter(lines.into_iter().map(Ok));
        if !query.follow {
            return Ok(lines.boxed());
        }
        let rest = LogQuery { follow: true, tail: None, since: query.since, after };
        Ok(lines.chain(self.read(live, rest).await?).boxed())
    }

    /// A container's log; nothing for none, or for one that was just removed.
    async fn read(&self, container: Option<ContainerId>, query: LogQuery) -> Result<LogLines, LiveError> {
        let Some(container) = container else {
            return Ok(stream::empty().boxed());
        };
        match self.driver.logs(container, query).await {
            Err(DriverError::Unknown(_)) => Ok(stream::empty().boxed()),
            lines => Ok(lines?),
        }
    }

    /// The logs of the containers that come after `last`, one after the other.
    fn later(&self, service: ServiceId, last: ContainerId, query: LogQuery) -> LogLines {
        let query = LogQuery { follow: true, tail: None, since: query.since, after: None };
        stream::unfold((self.clone(), last), move |(this, last)| {
            let query = query.clone();
            async move {
                let next = this.successor(service, last).await?;
                let lines = this.read(Some(next), query).await.ok()?;
                Some((lines, (this, next)))
            }
        })
        .flatten()
        .boxed()
    }

    /// Waits for the next live container; `None` when there will be none.
    async fn successor(&self, service: ServiceId, last: ContainerId) -> Option<ContainerId> {
        let mut notices = self.store.notices();
        loop {
            notices.borrow_and_update();
            let found = self.store.find_service_by_id(service).await.ok()??;
            if found.wanted == Wanted::Stopped {
                return None;
            }
            match self.live_one(service).await {
                Ok(live) if live != last => return Some(live),
                Ok(_) | Err(LiveError::NotRunning) => notices.changed().await.ok()?,
                Err(_) => return None,
            }
        }
    }
}

fn past(query: &LogQuery) -> LogQuery {
    LogQuery { follow: false, ..query.clone() }
}

/// A container that ended between the look and the call is not running.
fn gone(error: DriverError) -> LiveError {
    match error {
        DriverError::Unknown(_) | DriverError::NotRunning(_) => LiveError::NotRunning,
        error => LiveError::Driver(error),
    }
}
