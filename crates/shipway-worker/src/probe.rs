//! Is it ready? One question over the socket that visitors will use.
//!
//! A runner of ours is asked `OPTIONS *` with `shipway-probe: ready`, which it
//! answers itself with 204: a probe never runs a script. A service that names a
//! health path is asked for that instead, like any visitor would. A command that names
//! none is ready when its port takes a connection. The answer is
//! hostile: only the status is read, and never more than a few kilobytes.

mod dial;
mod h2c;

use std::time::Duration;

use shipway_driver::{Driver, DriverError};
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, HealthCheck, Protocol, ServiceId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

/// The pauses between probes: short at first, because most runners are ready in a
/// few milliseconds, and never so long that a visitor would notice.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(25);

/// A runner that takes longer to say that it is ready is asked again: the question
/// may have been lost in its start.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Enough for any status line; more is no answer.
const STATUS_LINE_MAX: usize = 1024;

/// How long it is waited for beyond the status.
const LINE_WAIT: Duration = Duration::from_millis(50);

/// Most characters of an answer's body that are told.
const LINE_CHARS_MAX: usize = 200;

/// What is probed.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) service: ServiceId,
    pub(crate) container: ContainerId,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) health: &'a HealthCheck,
}

/// Why it did not become ready, in words for the user.
#[derive(Debug)]
pub(crate) struct NotReady(pub(crate) String);

/// Asks until it is ready, its container ends, or the deadline passes.
pub(crate) async fn until_ready(driver: &dyn Driver, subject: &Subject<'_>) -> Result<(), NotReady> {
    tokio::select! {
        biased;
        how = end_of(driver, subject.container) => Err(NotReady(how)),
        asked = ask_until_deadline(subject) => asked,
    }
}

/// Returns how the container ended; never, if that cannot be known.
async fn end_of(driver: &dyn Driver, container: ContainerId) -> String {
    match driver.wait(container).await {
        Ok(exit) => format!("its container ended before it was ready: {}", exit.words()),
        Err(DriverError::Unknown(_)) => "its container is gone".to_owned(),
        Err(error) => {
            tracing::warn!(container.id = %container, %error, "cannot wait for a candidate");
            std::future::pending().await
        }
    }
}

async fn ask_until_deadline(subject: &Subject<'_>) -> Result<(), NotReady> {
    let deadline = Duration::from_millis(u64::from(subject.health.deadline_ms));
    let start = Instant::now();
    let question = question(subject)?;
    let patience = match subject.health.path {
        Some(_) => deadline,
        None => ANSWER_MAX,
    };
    let mut pause = PAUSE_FIRST;
    let mut saw = None;
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        let limit = left.min(patience);
        match timeout(limit, asked(subject, question.as_deref())).await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(seen))) if is_ready(subject.health, seen.status) => return Ok(()),
            Ok(Ok(Some(seen))) => saw = Some(seen.words(subject.health)),
            Ok(Err(words)) => saw = Some(words),
            // The deadline has cut this one short: the one before it tells more.
            Err(_) if saw.is_some() && limit < patience => {}
            Err(_) => saw = Some(format!("no answer within {} ms", limit.as_millis())),
        }
        if start.elapsed() + pause >= deadline {
            let asked = match (&subject.health.path, subject.endpoint) {
                (Some(path), _) => path,
                (None, Endpoint::Unix { .. }) => "the runner",
                (None, Endpoint::Dialer { .. }) => "its port",
            };
            return Err(NotReady(format!(
                "it was not ready after {} ms: the last probe of {asked} saw {}",
                deadline.as_millis(),
                saw.as_deref().unwrap_or("nothing")
            )));
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks once, in what is spoken there.
async fn asked(subject: &Subject<'_>, question: Option<&str>) -> Result<Option<Seen>, String> {
    match (subject.endpoint.protocol(), &subject.health.path) {
        (Protocol::H2c, Some(path)) => {
            let connection = connect(subject.endpoint).await?;
            h2c::ask(connection, subject.service, path).await.map(Some)
        }
        _ => ask(subject.endpoint, question).await,
    }
}

/// The bytes to send, or `None` when a connection is answer enough. A path that would
/// not be one line of a request is refused.
fn question(subject: &Subject<'_>) -> Result<Option<String>, NotReady> {
    let host = subject.service;
    let Some(path) = &subject.health.path else {
        let runner = format!("OPTIONS * HTTP/1.1\r\nhost: {host}\r\nshipway-probe: ready\r\nconnection: close\r\n\r\n");
        return Ok(matches!(subject.endpoint, Endpoint::Unix { .. }).then_some(runner));
    };
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NotReady(format!("the health path {path:?} is not a path: it begins with / and has no spaces")));
    }
    Ok(Some(format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: shipway-probe\r\naccept: */*\r\nconnection: close\r\n\r\n"
    )))
}

const fn is_ready(health: &HealthCheck, status: u16) -> bool {
    match health.path {
        Some(_) => status >= 200 && status < 400,
        None => status == 204,
    }
}

/// What an answer says, as far as it is looked at.
#[derive(Debug)]
struct Seen {
    status: u16,
    /// The first line of its body, if that came with the head.
    line: String,
}

impl Seen {
    /// A runner of ours says in one line what stands in its way.
    fn words(&self, health: &HealthCheck) -> String {
        match (&health.path, self.line.as_str()) {
            (None, line) if !line.is_empty() => format!("status {}: {line}", self.status),
            _ => format!("status {}", self.status),
        }
    }
}

/// Asks once; returns the status, `None` when nothing was to be asked, or what happened
/// instead.
async fn ask(endpoint: &Endpoint, question: Option<&str>) -> Result<Option<Seen>, String> {
    let connection = connect(endpoint).await?;
    let Some(question) = question else {
        return Ok(None);
    };
    converse(connection, question)
        .await
        .map_err(|error| format!("a broken connection ({})", error.kind()))?
        .ok_or_else(|| "an answer that is no HTTP".to_owned())
        .map(Some)
}

async fn connect(endpoint: &Endpoint) -> Result<Box<dyn dial::Connection>, String> {
    dial::connect(endpoint).await.map_err(|error| format!("no connection ({})", error.kind()))
}

async fn converse(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    question: &str,
) -> std::io::Result<Option<Seen>> {
    connection.write_all(question.as_bytes()).await?;
    let mut head = Vec::with_capacity(STATUS_LINE_MAX);
    let mut rest = (&mut connection).take(STATUS_LINE_MAX as u64);
    while !head.contains(&b'\n') {
        if rest.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    // Of a failure a little more is told, if it comes at once.
    while status_of(&head).is_some_and(|status| status >= 500) && line_of(&head).is_empty() {
        match timeout(LINE_WAIT, rest.read_buf(&mut head)).await {
            Ok(Ok(1..)) => {}
            _ => break,
        }
    }
    Ok(status_of(&head).map(|status| Seen { status, line: line_of(&head) }))
}

/// The body's first line, of characters that can do no harm in a message.
fn line_of(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    body.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect()
}

/// Reads `HTTP/1.1 204 …` (RFC 9112 §4).
fn status_of(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    let ends = matches!(rest.get(5), Some(b' ' | b'\r' | b'\n'));
    let minor_and_space = matches!(rest, [b'0' | b'1', b' ', ..]);
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (ends && minor_and_space && digits.iter().all(u8::is_ascii_digit)).then_some(status)
}

#[cfg(test)]
mod tests;
