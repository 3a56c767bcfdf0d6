//! The log of a service: those of its containers, one after the other.
//!
//! A container's log begins anew with each container, and a cursor of one means
//! nothing in another. So a place in a service's log names the container too: who
//! comes back with one goes on in that container, if its log is still there, and then
//! with those that came after it.

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use shipway_driver::{DriverError, LogCursor, LogLine, LogQuery};
use shipway_model::{ContainerId, Instance, InstanceRole, Micros, ServiceId};

use super::{LiveError, LiveStreams};

/// Most lines that `tail` gives, whatever was asked: they are held in memory.
const TAIL_MAX: usize = 10_000;

/// Lines of a service's log, oldest first.
pub type LiveLines = BoxStream<'static, Result<LiveLine, DriverError>>;

/// What to read of a service's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveQuery {
    /// Go on when the end is reached, until the service is stopped or deleted.
    pub follow: bool,
    /// Only the last so many lines of what is there.
    pub tail: Option<usize>,
    /// Only lines of this time or later.
    pub since: Option<Micros>,
    /// Only lines after this one.
    pub after: Option<LivePlace>,
}

/// A place in a service's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivePlace {
    /// In the log of this container.
    pub container: ContainerId,
    /// After this line of it.
    pub cursor: LogCursor,
}

/// One line of a service's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveLine {
    /// Who printed it.
    pub container: ContainerId,
    /// What was printed.
    pub line: LogLine,
}

impl LiveLine {
    /// Where to go on from.
    #[must_use]
    pub const fn place(&self) -> LivePlace {
        LivePlace { container: self.container, cursor: self.line.cursor }
    }
}

/// The log of one container, from its beginning or from after a line.
#[derive(Debug, Clone, Copy)]
struct Part {
    container: ContainerId,
    after: Option<LogCursor>,
}

impl Part {
    const fn whole(row: &Instance) -> Self {
        Self { container: row.container, after: None }
    }
}

impl LiveStreams {
    /// Reads a service's log: the lines of the container that died last, if that is
    /// recent, then those of the live one. Following goes on with the container
    /// after that, until the service is stopped or deleted.
    ///
    /// With `after` the log goes on after that line, in its container and then in
    /// those that came after it. When that container is gone, what follows is the
    /// live one from its beginning: rather a line twice than one never.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] when there is no container to read.
    pub async fn logs(&self, service: ServiceId, query: LiveQuery) -> Result<LiveLines, LiveError> {
        let parts = self.parts(service, query.after).await?;
        let last = parts.last().ok_or(LiveError::NotRunning)?.container;
        let first = match query.tail {
            Some(tail) => self.tail(&parts, tail.min(TAIL_MAX), &query).await?,
            None => self.whole(&parts, &query).await?,
        };
        if !query.follow {
            return Ok(first);
        }
        Ok(first.chain(self.later(service, last, query.since)).boxed())
    }

    /// What to read, oldest first.
    async fn parts(&self, service: ServiceId, after: Option<LivePlace>) -> Result<Vec<Part>, LiveError> {
        if self.store.find_service_by_id(service).await?.is_none() {
            return Err(LiveError::NotFound);
        }
        let rows = self.store.list_instances(Some(service)).await?;
        let live = rows.iter().find(|row| row.role == InstanceRole::Live);
        let mut old: Vec<&Instance> = rows.iter().filter(|row| row.role == InstanceRole::Draining).collect();
        old.sort_by_key(|row| row.started_at);
        let Some(LivePlace { container, cursor }) = after else {
            // The last one that died, until its successor has been well for a minute.
            let grave = old.into_iter().rfind(|row| row.failures > 0);
            return Ok(grave.into_iter().chain(live).map(Part::whole).collect());
        };
        let rows = old.into_iter().chain(live);
        let mut parts: Vec<Part> = rows.skip_while(|row| row.container != container).map(Part::whole).collect();
        match parts.first_mut() {
            Some(first) => first.after = Some(cursor),
            None => parts.extend(live.map(Part::whole)),
        }
        Ok(parts)
    }

    /// All of it. Who was in the middle of an old container that is still draining gets
    /// its last words too; who was not, need not wait for them.
    async fn whole(&self, parts: &[Part], query: &LiveQuery) -> Result<LiveLines, LiveError> {
        let mut all = stream::empty().boxed();
        for (index, part) in parts.iter().enumerate() {
            let is_newest = index + 1 == parts.len();
            let follow = query.follow && (is_newest || part.after.is_some());
            all = all.chain(self.read(*part, follow, None, query.since).await?).boxed();
        }
        Ok(all)
    }

    /// The last `tail` lines of all together, then what follows in the newest.
    async fn tail(&self, parts: &[Part], tail: usize, query: &LiveQuery) -> Result<LiveLines, LiveError> {
        let mut lines: Vec<LiveLine> = Vec::new();
        for part in parts.iter().rev() {
            let wanted = Some(tail.saturating_sub(lines.len()));
            let mut before: Vec<LiveLine> = self.read(*part, false, wanted, query.since).await?.try_collect().await?;
            before.append(&mut lines);
            lines = before;
        }
        let newest = parts.last().filter(|_| query.follow);
        let rest = match newest {
            Some(newest) => {
                let seen = lines.last().filter(|line| line.container == newest.container);
                let after = seen.map(|line| line.line.cursor).or(newest.after);
                self.read(Part { after, ..*newest }, true, None, query.since).await?
            }
            None => stream::empty().boxed(),
        };
        Ok(stream::iter(lines.into_iter().map(Ok)).chain(rest).boxed())
    }

    /// A container's log; nothing for one that was just removed.
    async fn read(
        &self,
        part: Part,
        follow: bool,
        tail: Option<usize>,
        since: Option<Micros>,
    ) -> Result<LiveLines, LiveError> {
        let Part { container, after } = part;
        match self.driver.logs(container, LogQuery { follow, tail, since, after }).await {
            Err(DriverError::Unknown(_)) => Ok(stream::empty().boxed()),
            lines => Ok(lines?.map_ok(move |line| LiveLine { container, line }).boxed()),
        }
    }

    /// The logs of the containers that come after `last`, one after the other.
    fn later(&self, service: ServiceId, last: ContainerId, since: Option<Micros>) -> LiveLines {
        stream::unfold((self.clone(), last), move |(this, last)| async move {
            let next = this.successor(service, last).await?;
            let part = Part { container: next, after: None };
            let lines = this.read(part, true, None, since).await.ok()?;
            Some((lines, (this, next)))
        })
        .flatten()
        .boxed()
    }
}
