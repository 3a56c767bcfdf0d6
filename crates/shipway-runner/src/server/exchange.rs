//! One request after another on one connection.
//!
//! [`drive`] moves a connection on from phase to phase until it must wait. It is
//! called after any event and looks at everything, so that no event is special.

use std::io;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use super::Server;
use super::connection::{Connection, Filled, Gone, Phase};
use super::limits;
use super::script::{Outcome, Script};
use super::slots::Token;
use crate::config::Kind;
use crate::content::{Reply, Segment, plain};
use crate::http::answer::Answer;
use crate::http::body::Body;
use crate::http::head::{self, Framing, Head, Refusal, Target};

/// Most requests answered before others get their turn: a client may pipeline
/// as fast as we answer.
const REQUESTS_A_TURN: usize = 32;

/// Whether there may be more to do at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Again,
    Wait,
}

/// Moves a connection on until it must wait.
///
/// # Errors
///
/// The connection is to be closed.
pub fn drive(server: &mut Server, token: Token, connection: &mut Connection) -> Result<(), Gone> {
    connection.begin_turn();
    if std::mem::take(&mut connection.is_due) && connection.deadline <= server.now {
        expire(server, token, connection)?;
    }
    if server.draining_until.is_some() || connection.is_last {
        connection.is_last = true;
        connection.keep_alive = false;
    }
    let mut requests = 0;
    loop {
        let step = match &connection.phase {
            Phase::Head { .. } if requests >= REQUESTS_A_TURN => {
                connection.again = true;
                server.wake_by(server.now);
                Step::Wait
            }
            Phase::Head { .. } => {
                requests += 1;
                read_head(server, token, connection)?
            }
            Phase::Queued => Step::Wait,
            Phase::Script(_) => pump(server, token, connection)?,
            Phase::Flush => finish(server, connection)?,
            Phase::Linger { .. } => linger(connection)?,
        };
        if step == Step::Wait {
            return Ok(());
        }
    }
}

/// A phase has lasted too long.
fn expire(server: &mut Server, token: Token, connection: &mut Connection) -> Result<(), Gone> {
    match &mut connection.phase {
        Phase::Head { begun: true } => {
            refuse(
                connection,
                server.now,
                Refusal { status: 408, reason: "the request's head took too long to arrive" },
            );
            Ok(())
        }
        Phase::Queued => {
            server.queue.forget(token);
            busy(connection, server.now, "every seat stayed taken")
        }
        Phase::Script(script) => {
            script.is_overdue = true;
            Ok(())
        }
        Phase::Head { begun: false } | Phase::Flush | Phase::Linger { .. } => Err(Gone),
    }
}

fn read_head(server: &mut Server, token: Token, connection: &mut Connection) -> Result<Step, Gone> {
    loop {
        if !connection.input.is_empty() {
            match head::parse(&connection.input, connection.scanned) {
                Ok(Some((head, used))) => {
                    connection.used(used);
                    return begin(server, token, connection, head);
                }
                Ok(None) => connection.scanned = connection.input.len(),
                Err(refusal) => {
                    refuse(connection, server.now, refusal);
                    return Ok(Step::Again);
                }
            }
            if matches!(connection.phase, Phase::Head { begun: false }) {
                connection.phase = Phase::Head { begun: true };
                connection.deadline = server.now + limits::HEAD;
            }
        }
        match connection.fill()? {
            Filled::More => {}
            Filled::Blocked if connection.is_last && connection.input.is_empty() => {
                return Err(Gone);
            }
            Filled::Blocked => return Ok(Step::Wait),
            Filled::End => return Err(Gone),
        }
    }
}

/// A request has arrived as far as its head.
fn begin(server: &mut Server, token: Token, connection: &mut Connection, head: Head) -> Result<Step, Gone> {
    let head = Rc::new(head);
    connection.body = Body::new(head.framing);
    connection.keep_alive = head.keep_alive && !connection.is_last;
    connection.head = Some(Rc::clone(&head));
    if head.target == Target::Asterisk {
        let answer = about_server(server, &head);
        return reply(connection, server.now, answer);
    }
    match server.config.kind {
        Kind::Static => {
            let answer = server.content.answer(&head, SystemTime::now()).unwrap_or_else(|error| {
                server.log.say(&format!("the content cannot be read: {error}"));
                plain(&head, 500, "the content cannot be read")
            });
            reply(connection, server.now, answer)
        }
        Kind::Script => admit(server, token, connection),
    }
}

/// `OPTIONS *` asks about the server as a whole (RFC 9110 §9.3.7). With our probe's
/// header the question is whether content could be served now.
fn about_server(server: &mut Server, head: &Head) -> Reply {
    let is_probe = head.only("shipway-probe") == Some("ready");
    if let (true, Err(obstacle)) = (is_probe, server.readiness()) {
        return plain(head, 503, &obstacle);
    }
    Reply { answer: Answer::new(204, ""), body: Vec::new() }
}

/// Gives a request a script's seat, or a place in the queue, or neither.
fn admit(server: &mut Server, token: Token, connection: &mut Connection) -> Result<Step, Gone> {
    let has_seat = server.family.count() < server.budget.scripts;
    if has_seat && server.queue.is_empty() {
        return start(server, token, connection, None);
    }
    let most = server.budget.scripts * limits::QUEUE_PER_SEAT;
    if server.queue.push(token, most) {
        connection.phase = Phase::Queued;
        connection.deadline = server.now + limits::QUEUE.min(server.config.timeout);
        return Ok(Step::Again);
    }
    busy(connection, server.now, "every seat is taken and many wait")?;
    Ok(Step::Again)
}

/// The seat a request waited for is free.
///
/// # Errors
///
/// The connection is to be closed.
pub fn seat(server: &mut Server, token: Token, connection: &mut Connection) -> Result<(), Gone> {
    if matches!(connection.phase, Phase::Queued) {
        start(server, token, connection, None)?;
    }
    Ok(())
}

/// Starts a script for the current request; `earlier` is the one that redirected here.
fn start(
    server: &mut Server,
    token: Token,
    connection: &mut Connection,
    earlier: Option<(Instant, u32)>,
) -> Result<Step, Gone> {
    let head = connection.head.clone().ok_or(Gone)?;
    let (deadline, redirects) = earlier.unwrap_or((server.now + server.config.timeout, 0));
    match Script::start(server, token, &head, deadline, redirects) {
        Ok(script) => {
            if head.expects_continue && redirects == 0 && connection.input.is_empty() {
                connection.output.push(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            connection.deadline = deadline;
            connection.phase = Phase::Script(Box::new(script));
            Ok(Step::Again)
        }
        Err(refusal) => {
            server.log.say(&refusal.message);
            let mut answer = plain(&head, refusal.status, &refusal.message);
            if refusal.status == 503 {
                answer.answer = answer.answer.header("Retry-After", "1");
            }
            reply(connection, server.now, answer)
        }
    }
}

/// Moves the current request's script on.
fn pump(server: &mut Server, token: Token, connection: &mut Connection) -> Result<Step, Gone> {
    let Phase::Script(mut script) = std::mem::replace(&mut connection.phase, Phase::Flush) else {
        return Err(Gone);
    };
    match script.pump(server, connection) {
        Ok(Outcome::Wait) => {
            connection.phase = Phase::Script(script);
            Ok(Step::Wait)
        }
        Ok(Outcome::Streamed) => {
            connection.deadline = server.now + limits::STALL;
            Ok(Step::Again)
        }
        Ok(Outcome::Reply(answer)) => reply(connection, server.now, answer),
        Ok(Outcome::Refused(refusal)) => {
            refuse(connection, server.now, refusal);
            Ok(Step::Again)
        }
        Ok(Outcome::Redirect(path)) => {
            redirect(connection, &path)?;
            start(server, token, connection, Some((script.deadline, script.redirects + 1)))
        }
        Err(gone) => {
            script.abandon(&mut server.family);
            Err(gone)
        }
    }
}

/// RFC 3875 §6.2.2: the answer is the one a GET of this path would have.
fn redirect(connection: &mut Connection, path: &str) -> Result<(), Gone> {
    let head = connection.head.as_deref().ok_or(Gone)?.clone().redirected(path);
    connection.head = Some(Rc::new(head));
    Ok(())
}

/// Queues a whole answer.
fn reply(connection: &mut Connection, now: Instant, reply: Reply) -> Result<Step, Gone> {
    let is_http11 = connection.head.as_ref().is_none_or(|head| head.is_http11);
    // A body that has not arrived cannot be told from the next request: no next.
    if !connection.drop_body().unwrap_or(false) {
        connection.keep_alive = false;
    }
    let head = reply.answer.connection(connection.keep_alive, is_http11).finish(SystemTime::now());
    connection.output.push(&head);
    for segment in reply.body {
        let pushed: io::Result<()> = connection.output.push_segment(segment);
        pushed.map_err(|_| Gone)?;
    }
    connection.phase = Phase::Flush;
    connection.deadline = now + limits::STALL;
    Ok(Step::Again)
}

fn busy(connection: &mut Connection, now: Instant, why: &str) -> Result<(), Gone> {
    let head = connection.head.clone().ok_or(Gone)?;
    let mut answer = plain(&head, 503, &format!("too many requests at once: {why}"));
    answer.answer = answer.answer.header("Retry-After", "1");
    reply(connection, now, answer).map(|_| ())
}

/// Answers what is no proper request. Nothing after it can be trusted.
fn refuse(connection: &mut Connection, now: Instant, refusal: Refusal) {
    let text = format!("{}\n", refusal.reason);
    let head = Answer::new(refusal.status, "")
        .header("Content-Type", "text/plain; charset=utf-8")
        .header("Content-Length", text.len().to_string())
        .connection(false, true)
        .finish(SystemTime::now());
    connection.keep_alive = false;
    // Whatever follows is dropped as if it were a body without end.
    connection.body = Body::new(Framing::Length(u64::MAX));
    connection.output.push(&head);
    connection.output.push(text.as_bytes());
    connection.phase = Phase::Flush;
    connection.deadline = now + limits::STALL;
}

/// Writes the rest of an answer, then makes room for the next request.
fn finish(server: &mut Server, connection: &mut Connection) -> Result<Step, Gone> {
    if !connection.flush(server.now)? {
        return Ok(Step::Wait);
    }
    let body_is_done = connection.drop_body().unwrap_or(false);
    if connection.keep_alive && body_is_done {
        connection.head = None;
        connection.phase = Phase::Head { begun: false };
        connection.deadline = server.now + limits::IDLE;
        return Ok(Step::Again);
    }
    if body_is_done && connection.input.is_empty() {
        return Err(Gone);
    }
    connection.stop_sending();
    connection.deadline = server.now + limits::LINGER;
    connection.phase = Phase::Linger { left: limits::LINGER_BYTES };
    Ok(Step::Again)
}

fn linger(connection: &mut Connection) -> Result<Step, Gone> {
    let Phase::Linger { left } = &mut connection.phase else {
        return Err(Gone);
    };
    *left = left.checked_sub(connection.input.len()).ok_or(Gone)?;
    connection.input.clear();
    match connection.fill()? {
        Filled::More => Ok(Step::Again),
        Filled::Blocked => Ok(Step::Wait),
        Filled::End => Err(Gone),
    }
}

/// A short text as a body, for answers made elsewhere.
#[must_use]
pub fn text(bytes: Vec<u8>) -> Vec<Segment> {
    vec![Segment::Bytes(bytes)]
}
