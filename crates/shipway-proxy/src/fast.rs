//! The fast path: plain HTTP/1.1 requests for services, by hand.
//!
//! Most requests are of one kind: HTTP/1.1, one host that is a service's, no body or
//! one of known length, nothing asked of the connection but to stay or to end. For
//! those hyper's generality costs a third of the processor. This path knows only
//! them; a connection whose next request is of another kind, malformed ones
//! included, is handed over to the general path, at the boundary before that
//! request, with all bytes read and the time its head still has, and stays there.
//!
//! ```text
//!            ┌─────────────── kept ◄─────────────┐
//!            ▼                                   │
//! visitor ─► head of the plain kind? ─► exchange with a service ─► closed
//!                     │ no
//!                     └─► guard ─► hyper
//! ```
//!
//! * [`request`], [`response`], [`chunked`]: bytes and their meaning, pure.
//! * [`line`]: the visitor's connection. [`buffer`]: memory it does not hold on to.
//! * [`exchange`], [`upload`]: one request over one connection to a service.
//! * [`answer`]: which service, which connection, and what to say when there is none.
//!
//! A service and a visitor must not notice which path a request took: the
//! differential tests send everything down both.

mod answer;
mod buffer;
mod chunked;
mod exchange;
mod line;
mod request;
mod response;
mod upload;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use self::answer::{Known, Next, Words};
use self::line::Line;
use crate::client::Client;
use crate::streams::Visitor;

/// A connection for the general path.
#[derive(Debug)]
pub(crate) struct HandOver {
    /// The connection.
    pub(crate) visitor: Visitor,
    /// What was read of it and not answered.
    pub(crate) bytes: Bytes,
    /// When the request that they begin with began to arrive.
    pub(crate) head_since: Instant,
}

/// Serves a connection that begins with `first`, until it ends or must be handed over.
pub(crate) async fn serve(client: &Arc<Client>, visitor: Visitor, first: Bytes) -> Option<HandOver> {
    let mut line = Line::new(visitor, &first);
    drop(first);
    let mut known = Known::default();
    let mut words = Words::default();
    let mut head_since = Some(Instant::now());
    let draining = client.proxy.drained();
    let mut draining = pin!(draining);
    loop {
        let mut searched = 0;
        let request = loop {
            let next = if line.input.is_empty() {
                Next::More
            } else {
                answer::next(client, &mut line, &mut known, &mut words, &mut searched)
            };
            match next {
                Next::Request(request) => break request,
                Next::More => {}
                Next::Elsewhere => return Some(hand_over(line, head_since)),
            }
            match poll_fn(|cx| poll_input(cx, client, &mut line, &mut head_since, draining.as_mut())).await {
                Input::More => {}
                Input::Elsewhere => return Some(hand_over(line, head_since)),
                Input::End => return None,
            }
        };
        match answer::answer(client, &mut line, &known, &mut words, request).await {
            answer::After::Next => head_since = None,
            answer::After::Close => {
                line.close().await;
                return None;
            }
            answer::After::Gone => return None,
            answer::After::Elsewhere => return Some(hand_over(line, head_since)),
        }
    }
}

fn hand_over(line: Line, head_since: Option<Instant>) -> HandOver {
    let (visitor, bytes) = line.into_parts();
    HandOver { visitor, bytes, head_since: head_since.unwrap_or_else(Instant::now) }
}

/// What came of waiting for a request.
enum Input {
    /// Bytes.
    More,
    /// The rest of a head, which did not come: the general path knows what to say.
    Elsewhere,
    /// Nothing, and nothing will.
    End,
}

/// Reads more of a request, as long as there is time for it.
fn poll_input(
    cx: &mut Context<'_>,
    client: &Client,
    line: &mut Line,
    head_since: &mut Option<Instant>,
    draining: Pin<&mut impl Future<Output = ()>>,
) -> Poll<Input> {
    let is_idle = line.input.is_empty();
    match line.poll_read(cx) {
        Poll::Ready(Ok(0)) if !is_idle => return Poll::Ready(Input::Elsewhere),
        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Input::End),
        Poll::Ready(Ok(_)) => {
            if is_idle {
                *head_since = None;
            }
            return Poll::Ready(Input::More);
        }
        Poll::Pending => {}
    }
    if is_idle && draining.poll(cx).is_ready() {
        return Poll::Ready(Input::End);
    }
    let limits = &client.proxy.limits;
    let since = *head_since.get_or_insert_with(Instant::now);
    let limit = if is_idle { limits.idle } else { limits.header_time };
    let late = if is_idle { Input::End } else { Input::Elsewhere };
    line.alarm.poll_until(cx, since + limit).map(|()| late)
}
