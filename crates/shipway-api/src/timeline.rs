//! The events of one subject: a page of them, or one after the other as they come.

use std::collections::VecDeque;

use axum::http::Uri;
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use shipway_api_types::ProblemCode;
use shipway_model::{BuildId, Event};
use shipway_store::{Notice, Store};
use tokio::sync::watch;

use crate::query::Query;
use crate::reply::Reject;
use crate::{cursor, present};

/// When a stream of events ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// With the last there is.
    Now,
    /// Not by itself.
    ForEver,
    /// When this build has ended *and* has nothing more to say.
    Ended(BuildId),
}

/// Where a stream of events stands.
struct Reader {
    store: Store,
    notices: watch::Receiver<Notice>,
    subject: String,
    after: u64,
    ready: VecDeque<Event>,
    /// Read from the store at once.
    batch: u32,
    until: Until,
    /// Whether the end had come before the store was last asked for more.
    ended: bool,
}

/// Events after `after`. A notice only wakes; what there is is read anew.
pub(crate) fn read(
    store: Store,
    subject: String,
    after: u64,
    batch: u32,
    until: Until,
) -> BoxStream<'static, Result<Event, Reject>> {
    let (notices, ready, ended) = (store.notices(), VecDeque::new(), until == Until::Now);
    let start = Reader { store, notices, subject, after, ready, batch, until, ended };
    stream::try_unfold(start, |mut reader| async move {
        let event = reader.next().await?;
        Ok(event.map(|event| (event, reader)))
    })
    .boxed()
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Event>, Reject> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.notices.mark_unchanged();
            let rows = self.store.list_events(&self.subject, self.after, self.batch).await?;
            check_kept(self.after, &rows)?;
            if let Some(last) = rows.last() {
                self.after = last.seq;
                self.ready = rows.into();
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            // An end and the word of it are written at once: what was ended before this look
            // has said everything by the next one.
            self.ended = self.has_ended().await?;
            if !self.ended && self.notices.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    async fn has_ended(&self) -> Result<bool, Reject> {
        let Until::Ended(build) = self.until else { return Ok(false) };
        Ok(self.store.find_build(build).await?.is_none_or(|build| build.state.is_final()))
    }
}

/// A page of events after `after`, as long as the query says.
pub(crate) async fn page(
    store: &Store,
    subject: &str,
    after: u64,
    query: &Query,
    uri: &Uri,
) -> Result<Response, Reject> {
    let limit = cursor::limit(query);
    let mut rows = store.list_events(subject, after, limit + 1).await?;
    check_kept(after, &rows)?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more).map(|row| row.seq);
    let items = rows.iter().map(present::event).collect();
    Ok(cursor::page(uri, items, last.map(cursor::seal)))
}

/// Whether the events go on where a cursor says. Numbers never skip, so where one is missing
/// it was forgotten; whoever begins without a cursor begins with what is left.
pub(crate) fn check_kept(after: u64, rows: &[Event]) -> Result<(), Reject> {
    match rows.first() {
        Some(first) if after > 0 && first.seq > after + 1 => {
            let detail = format!("events {} to {} are no longer kept", after + 1, first.seq - 1);
            Err(Reject::new(ProblemCode::EventsForgotten, detail)
                .hint("read again without a cursor: that begins with the oldest that is kept"))
        }
        _ => Ok(()),
    }
}
