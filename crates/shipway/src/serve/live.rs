//! What the API asks of running services, answered by the worker.
//!
//! Roles know nothing of each other: the API says what it needs in a trait, the
//! worker offers what it has, and these few lines turn one's words into the
//! other's. Between several processes the relay carries them.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use shipway_api::{ExecInput, ExecOutput, ExecSession, ExecSpec, Live, LiveError, LogLines, LogQuery};
use shipway_api_types::{EgressStats, LogLine, LogStream, Stats, TerminalSize};
use shipway_driver as driver;
use shipway_model::ServiceId;
use shipway_stdx::clock::rfc3339;
use shipway_worker::{Drain, LiveLine, LivePlace, LiveQuery, LiveStreams};
use tokio::sync::mpsc;

/// Messages that may wait between an exec's two ends.
const EXEC_BACKLOG: usize = 16;

/// The worker's streams and the proxy's routes, in the API's words.
#[derive(Debug)]
pub(crate) struct WorkerLive {
    streams: LiveStreams,
    drain: Arc<dyn Drain>,
}

impl WorkerLive {
    pub(crate) fn new(streams: LiveStreams, drain: Arc<dyn Drain>) -> Self {
        Self { streams, drain }
    }
}

fn egress_to(stats: driver::EgressStats, obstacles: Vec<String>) -> EgressStats {
    EgressStats {
        obstacles,
        sent_bytes: stats.sent_bytes,
        received_bytes: stats.received_bytes,
        refused_spoofed: stats.refused_spoofed,
        refused_host: stats.refused_host,
        refused_neighbour: stats.refused_neighbour,
        refused_metadata: stats.refused_metadata,
        refused_special: stats.refused_special,
        refused_connections: stats.refused_connections,
        refused_rate: stats.refused_rate,
        refused_names: stats.refused_names,
    }
}

#[async_trait]
impl Live for WorkerLive {
    async fn reachable(&self, service: ServiceId) {
        self.drain.published(service).await;
    }

    async fn logs(&self, service: ServiceId, query: LogQuery) -> Result<LogLines, LiveError> {
        let wanted = query.stream;
        let after = query.after.as_deref().map(place_from).transpose()?;
        let query = LiveQuery { follow: query.follow, tail: query.tail, since: query.since, after };
        let lines = match self.streams.logs(service, query).await {
            Ok(lines) => lines,
            // A service that does not run has an empty log, which is no error.
            Err(shipway_worker::LiveError::NotRunning) => return Ok(futures_util::stream::empty().boxed()),
            Err(error) => return Err(told(error)),
        };
        let lines = lines.map(|line| line.map(line_to).map_err(|error| told(error.into())));
        let ours = move |line: &Result<LogLine, LiveError>| match line {
            Ok(line) => wanted.is_none_or(|stream| line.stream == stream),
            Err(_) => true,
        };
        Ok(lines.filter(move |line| std::future::ready(ours(line))).boxed())
    }

    async fn stats(&self, service: ServiceId) -> Result<Stats, LiveError> {
        let stats = self.streams.stats(service).await.map_err(told)?;
        let egress = match stats.egress {
            Some(egress) => Some(egress_to(egress, self.streams.obstacles().await)),
            None => None,
        };
        Ok(Stats {
            cpu_usec: stats.cpu_usec,
            memory_bytes: stats.memory_bytes,
            memory_peak_bytes: stats.memory_peak_bytes,
            memory_limit_bytes: stats.memory_limit_bytes,
            pids: stats.pids,
            pids_limit: stats.pids_limit,
            io_read_bytes: stats.io_read_bytes,
            io_write_bytes: stats.io_write_bytes,
            egress,
        })
    }

    async fn exec(&self, service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        let terminal = spec.terminal.map(|size| (size.columns, size.rows));
        let spec = driver::ExecSpec { argv: spec.argv, env: spec.env.into_iter().collect(), terminal };
        let session = self.streams.exec(service, spec).await.map_err(told)?;
        Ok(relay(session))
    }
}

/// Two tasks carry an exec's messages. Each ends when either of its ends does, so
/// a caller that hangs up still kills the process.
fn relay(session: driver::ExecSession) -> ExecSession {
    let (input, mut from_caller) = mpsc::channel(EXEC_BACKLOG);
    let (to_caller, output) = mpsc::channel(EXEC_BACKLOG);
    let driver::ExecSession { input: to_process, output: mut from_process } = session;
    tokio::spawn(async move {
        while let Some(message) = from_caller.recv().await {
            if to_process.send(input_to(message)).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(message) = from_process.recv().await {
            if to_caller.send(output_from(message)).await.is_err() {
                break;
            }
        }
    });
    ExecSession { input, output }
}

fn input_to(message: ExecInput) -> driver::ExecInput {
    match message {
        ExecInput::Stdin(bytes) => driver::ExecInput::Stdin(bytes),
        ExecInput::Eof => driver::ExecInput::Eof,
        ExecInput::Resize(TerminalSize { columns, rows }) => driver::ExecInput::Resize(columns, rows),
        ExecInput::Signal(signal) => driver::ExecInput::Signal(signal),
    }
}

fn output_from(message: driver::ExecOutput) -> ExecOutput {
    match message {
        driver::ExecOutput::Stdout(bytes) => ExecOutput::Stdout(bytes),
        driver::ExecOutput::Stderr(bytes) => ExecOutput::Stderr(bytes),
        driver::ExecOutput::Exited(code) => ExecOutput::Exited(code),
    }
}

fn line_to(line: LiveLine) -> LogLine {
    let cursor = place_to(line.place());
    let LiveLine { line, .. } = line;
    let stream = match line.stream {
        driver::LogStream::Stdout => LogStream::Stdout,
        driver::LogStream::Stderr => LogStream::Stderr,
    };
    LogLine { at: rfc3339(line.at), stream, partial: line.partial, text: line.text, cursor }
}

/// A place as the API's opaque cursor: container, segment, offset.
fn place_to(place: LivePlace) -> String {
    let LivePlace { container, cursor } = place;
    format!("{container}.{}.{}", cursor.segment, cursor.offset)
}

fn place_from(text: &str) -> Result<LivePlace, LiveError> {
    let read = || {
        let (container, cursor) = text.split_once('.')?;
        let (segment, offset) = cursor.split_once('.')?;
        let cursor = driver::LogCursor { segment: segment.parse().ok()?, offset: offset.parse().ok()? };
        Some(LivePlace { container: container.parse().ok()?, cursor })
    };
    read().ok_or(LiveError::BadCursor)
}

fn told(error: shipway_worker::LiveError) -> LiveError {
    use driver::DriverError as D;
    use shipway_worker::LiveError as W;
    match error {
        W::NotFound | W::NotRunning => LiveError::NotRunning,
        W::Driver(D::Unknown(_) | D::NotRunning(_)) => LiveError::NotRunning,
        W::Driver(D::NoProgram { missing, detail }) => LiveError::NoProgram { missing, detail },
        W::Driver(D::Invalid(reason)) => LiveError::Refused(reason),
        W::Driver(D::Unavailable { what, .. }) => LiveError::Unavailable(what),
        W::Store(error) => LiveError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use shipway_model::ContainerId;

    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nonsense_is_refused() {
        let container: ContainerId = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().unwrap();
        let text = format!("{container}.3.77");
        let place = LivePlace { container, cursor: driver::LogCursor { segment: 3, offset: 77 } };
        assert_eq!(place_from(&text), Ok(place));
        assert_eq!(place_to(place), text);
        for rest in ["", ".", ".3", ".3.", ".a.b", ".-1.2", ".1.2.3"] {
            let nonsense = format!("{container}{rest}");
            assert_eq!(place_from(&nonsense), Err(LiveError::BadCursor), "{nonsense}");
        }
        for nonsense in ["", "3", "3.77", "x.3.77", ".3.77"] {
            assert_eq!(place_from(nonsense), Err(LiveError::BadCursor), "{nonsense}");
        }
    }
}
