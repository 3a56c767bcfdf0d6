//! What the engine said, in the contract's words.

use std::io;
use std::path::Path;

use shipway_driver::{
    DriverError, EgressStats, ExecInput, ExecOutput, ExecSession, Exit, LogCursor, LogLine, LogQuery, LogStream, Phase,
    Seen, Stats,
};
use shipway_engine::host_image::HostImageError;
use shipway_engine::layers::LayerError;
use shipway_engine::logs::Source;
use shipway_engine::{self as engine, EXECUTE, EngineError, Ingress};
use shipway_model::ContainerId;
use shipway_model::instance::{Endpoint, Protocol};
use shipway_stdx::chain;
use tokio::sync::mpsc;

/// ENOENT, ENOTDIR: a program that is not there.
const MISSING: [i32; 2] = [2, 20];

/// E2BIG, ENOEXEC, EACCES, EISDIR, ENAMETOOLONG, ELOOP: a program that cannot be run,
/// today or tomorrow. What is in neither list may pass.
const NOT_EXECUTABLE: [i32; 6] = [7, 8, 13, 21, 36, 40];

pub(crate) fn error(container: ContainerId, error: EngineError) -> DriverError {
    match error {
        EngineError::Unknown(_) => DriverError::Unknown(container),
        EngineError::NotRunning(_) => DriverError::NotRunning(container),
        EngineError::Running(_) => DriverError::Invalid(format!("container {container} is running; stop it first")),
        EngineError::Invalid(rule) => DriverError::Invalid(rule),
        EngineError::Start { step, errno, detail }
            if step == EXECUTE && (MISSING.contains(&errno) || NOT_EXECUTABLE.contains(&errno)) =>
        {
            let detail = format!("{detail}: {}", io::Error::from_raw_os_error(errno));
            DriverError::NoProgram { missing: MISSING.contains(&errno), detail }
        }
        EngineError::Missing { missing, remedy } => DriverError::Unavailable { what: missing, hint: Some(remedy) },
        error => DriverError::Unavailable { what: chain(&error), hint: None },
    }
}

pub(crate) fn image(error: HostImageError) -> DriverError {
    DriverError::Unavailable { what: chain(&error), hint: Some(error.remedy()) }
}

pub(crate) fn layer(error: LayerError) -> DriverError {
    DriverError::Unavailable { what: chain(&error), hint: Some("import the image again".to_owned()) }
}

pub(crate) fn endpoint(ingress: Ingress, path: &Path) -> Endpoint {
    let path = path.to_string_lossy().into_owned();
    match ingress {
        Ingress::Dialer { .. } => Endpoint::Dialer { path, protocol: Protocol::Http1 },
        Ingress::Listener | Ingress::None => Endpoint::Unix { path },
    }
}

pub(crate) const fn exit(exited: engine::Exited) -> Exit {
    Exit {
        code: exited.code,
        signal: exited.signal,
        out_of_memory: exited.out_of_memory,
        lost: exited.lost,
        ended_at: exited.ended_at,
    }
}

pub(crate) fn seen(container: ContainerId, seen: engine::Seen) -> Seen {
    Seen {
        container,
        phase: match seen.phase {
            engine::Phase::Created => Phase::Created,
            engine::Phase::Running(_) => Phase::Running,
            engine::Phase::Exited(exited) => Phase::Exited(exit(exited)),
        },
        labels: seen.labels,
        started_at: seen.started_at,
    }
}

pub(crate) fn stats(stats: engine::Stats, reached: Option<engine::Reached>) -> Stats {
    let engine::Stats { usage, limits } = stats;
    Stats {
        cpu_usec: usage.cpu_usec,
        memory_bytes: usage.memory_bytes,
        memory_peak_bytes: usage.memory_peak_bytes,
        memory_limit_bytes: limits.memory_bytes,
        pids: usage.pids,
        pids_limit: limits.pids as u64,
        io_read_bytes: usage.io_read_bytes,
        io_write_bytes: usage.io_write_bytes,
        egress: reached.map(egress),
    }
}

const fn egress(reached: engine::Reached) -> EgressStats {
    let engine::Reached { packets, names } = reached;
    EgressStats {
        sent_bytes: packets.sent_bytes,
        received_bytes: packets.received_bytes,
        refused_spoofed: packets.spoofed,
        refused_host: packets.host,
        refused_neighbour: packets.neighbour,
        refused_metadata: packets.metadata,
        refused_special: packets.special,
        refused_connections: packets.connections,
        refused_rate: packets.rate,
        refused_names: packets.names + names.refused + names.dropped,
    }
}

pub(crate) fn log_query(query: &LogQuery) -> engine::LogQuery {
    engine::LogQuery {
        follow: query.follow,
        tail: query.tail,
        since: query.since,
        after: query.after.map(|cursor| engine::Cursor { segment: cursor.segment, offset: cursor.offset }),
    }
}

pub(crate) fn log_line(line: engine::LogLine) -> LogLine {
    LogLine {
        at: line.at,
        stream: match line.source {
            Source::Stdout => LogStream::Stdout,
            Source::Stderr => LogStream::Stderr,
        },
        partial: line.partial,
        text: line.text,
        cursor: LogCursor { segment: line.cursor.segment, offset: line.cursor.offset },
    }
}

/// Passes everything through. Both tasks end with the process or its user: the one
/// when the engine's output closes, the other when either input does.
pub(crate) fn exec_session(session: engine::ExecSession) -> ExecSession {
    let engine::ExecSession { input: to_process, output: mut from_process } = session;
    let (input, mut from_user) = mpsc::channel(1);
    let (to_user, output) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(message) = from_user.recv().await {
            if to_process.send(exec_input(message)).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(message) = from_process.recv().await {
            if to_user.send(exec_output(message)).await.is_err() {
                return;
            }
        }
    });
    ExecSession { input, output }
}

fn exec_input(input: ExecInput) -> engine::ExecInput {
    match input {
        ExecInput::Stdin(bytes) => engine::ExecInput::Stdin(bytes),
        ExecInput::Eof => engine::ExecInput::Eof,
        ExecInput::Resize(columns, rows) => engine::ExecInput::Resize(columns, rows),
        ExecInput::Signal(signal) => engine::ExecInput::Signal(signal),
    }
}

fn exec_output(output: engine::ExecOutput) -> ExecOutput {
    match output {
        engine::ExecOutput::Stdout(bytes) => ExecOutput::Stdout(bytes),
        engine::ExecOutput::Stderr(bytes) => ExecOutput::Stderr(bytes),
        engine::ExecOutput::Exited(status) => ExecOutput::Exited(status),
    }
}
