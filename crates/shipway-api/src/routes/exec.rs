//! `GET /v1/services/{service}/exec`: a WebSocket to another process in a
//! service's container.
//!
//! The first message says what to run ([`ExecClient::Start`]); it travels inside
//! the connection and not in the URL, so that no log of a proxy in between ever
//! holds somebody's arguments. After that bytes go both ways in binary messages,
//! each with one byte in front that names the stream, and everything else in text
//! messages of JSON.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header;
use shipway_api_types::stream::{FRAME_STDERR, FRAME_STDIN, FRAME_STDOUT};
use shipway_api_types::{ExecClient, ExecServer, ProblemCode};
use shipway_model::ServiceId;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::services::SERVICE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::deploy;
use crate::endpoint::{Answer, Doc, Endpoint, Pace, Rules, Verb};
use crate::live::{ExecInput, ExecOutput, ExecSession, ExecSpec};
use crate::params::InPath;
use crate::reply::{ErrorStyle, Reject};

/// Longest the first message may take.
const START_TIME: Duration = Duration::from_secs(10);
/// Between two pings.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Without a sign of life for so long, the client is gone.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Longest a client may take to close its end.
const PARTING_TIME: Duration = Duration::from_secs(2);
/// Largest message; a paste is cut into several by every client.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const ARGUMENTS_MAX: usize = 1024;
const ARGUMENT_BYTES_MAX: usize = 128 << 10;
const TERMINAL_SIDE_MAX: u16 = 4096;
/// Signals there are on Linux.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&EXEC, exec)]
}

static EXEC: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/services/{service}/exec",
    access: Access::Needs(Action::Exec),
    pace: Pace::Quick,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "exec",
        tag: "services",
        summary: "Run a process in a service's container",
        description: "A WebSocket. The client's first message is text: `{\"type\": \"start\", \"argv\": […], \
            \"env\": {…}, \"terminal\": {\"columns\": 80, \"rows\": 24}}`. Then binary messages: to the server \
            byte 0 and standard input, from the server byte 1 and standard output or byte 2 and standard \
            error; and text messages: `resize`, `eof`, `signal` to the server, `exit` or `error` from it, \
            last (`ExecClient` and `ExecServer`). Closing the WebSocket kills the process.",
        parameters: &[SERVICE],
        request: None,
        answers: &[Answer { status: 101, doc: "The WebSocket is open.", content: None }],
        problems: &[
            ProblemCode::NotFound,
            ProblemCode::NoSuchProgram,
            ProblemCode::NotRunning,
            ProblemCode::NotExecutable,
            ProblemCode::UpgradeRequired,
        ],
    },
};

async fn exec(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Reject> {
    let service = app.service(&caller, Action::Exec, &reference).await?;
    let upgrade = upgrade.map_err(|error| {
        Reject::new(ProblemCode::UpgradeRequired, error.body_text()).header(header::UPGRADE, "websocket")
    })?;
    let place = App::place(&app.execs, "execs")?;
    let id = service.id;
    Ok(upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX).on_upgrade(
        move |socket| async move {
            session(&app, socket, id).await;
            drop(place);
        },
    ))
}

async fn session(app: &App, mut socket: WebSocket, service: ServiceId) {
    let session = match begin(app, &mut socket, service).await {
        Ok(session) => session,
        Err(reject) => {
            let last = ExecServer::Error { problem: reject.problem };
            // The client may be gone, and then nobody wants to hear it.
            drop(socket.send(text(&last)).await);
            drop(socket.close().await);
            return;
        }
    };
    let (mut sink, mut stream) = socket.split();
    let ExecSession { input, output } = session;
    let mut shutdown = app.parts.shutdown.clone();
    // Whichever ends first drops `input`, and that ends the process.
    let told_all = tokio::select! {
        () = listen(&mut stream, input) => false,
        () = speak(&mut sink, output) => true,
        () = shutdown.requested() => false,
    };
    if told_all {
        part(&mut stream).await;
    }
}

/// Reads until the client has closed its end too. Were we to close while it still
/// writes, it might never see what we said last.
async fn part(stream: &mut SplitStream<WebSocket>) {
    let closed = async { while let Some(Ok(_)) = stream.next().await {} };
    drop(tokio::time::timeout(PARTING_TIME, closed).await);
}

async fn begin(app: &App, socket: &mut WebSocket, service: ServiceId) -> Result<ExecSession, Reject> {
    let bad = |detail: &str| Reject::new(ProblemCode::InvalidField, detail);
    let first = tokio::time::timeout(START_TIME, socket.recv())
        .await
        .map_err(|_| Reject::new(ProblemCode::Timeout, "no start message came"))?;
    let Some(Ok(Message::Text(first))) = first else {
        return Err(bad("expected a text message of type `start` first"));
    };
    let start = serde_json::from_str(&first).map_err(|error| bad(&error.to_string()))?;
    let spec = spec(start).map_err(|detail| bad(&detail))?;
    Ok(app.parts.live.exec(service, spec).await?)
}

fn spec(start: ExecClient) -> Result<ExecSpec, String> {
    let ExecClient::Start { argv, env, terminal } = start else {
        return Err("the first message must be of type `start`".to_owned());
    };
    let bytes: usize = argv.iter().map(|argument| argument.len() + 1).sum();
    if argv.first().is_none_or(String::is_empty) {
        return Err("argv: expected a program and its arguments".to_owned());
    }
    if argv.len() > ARGUMENTS_MAX || bytes > ARGUMENT_BYTES_MAX {
        return Err(format!("argv: at most {ARGUMENTS_MAX} arguments of {ARGUMENT_BYTES_MAX} bytes together"));
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err("argv: an argument has no zero byte".to_owned());
    }
    for (name, value) in &env {
        deploy::variable(name, value).map_err(|detail| format!("env/{name}: {detail}"))?;
    }
    if terminal.is_some_and(|size| !is_sane(size.columns) || !is_sane(size.rows)) {
        return Err(format!("terminal: sides are 1 to {TERMINAL_SIDE_MAX}"));
    }
    Ok(ExecSpec { argv, env, terminal })
}

fn is_sane(side: u16) -> bool {
    (1..=TERMINAL_SIDE_MAX).contains(&side)
}

/// From the client to the process, until either ends.
async fn listen(stream: &mut SplitStream<WebSocket>, input: mpsc::Sender<ExecInput>) {
    loop {
        // Pongs count as life; `next` answers pings by itself.
        let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE_MAX, stream.next()).await else {
            return;
        };
        let told = match message {
            Message::Binary(bytes) => stdin(&bytes),
            Message::Text(text) => told(&text),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        // What makes no sense ends the session: guessing could do harm.
        let Some(told) = told else { return };
        if input.send(told).await.is_err() {
            // The process has closed its input; its output still flows.
            continue;
        }
    }
}

fn stdin(bytes: &Bytes) -> Option<ExecInput> {
    match bytes.first() {
        Some(&FRAME_STDIN) => Some(ExecInput::Stdin(bytes.slice(1..))),
        _ => None,
    }
}

fn told(text: &str) -> Option<ExecInput> {
    match serde_json::from_str(text).ok()? {
        ExecClient::Eof => Some(ExecInput::Eof),
        ExecClient::Resize(size) if is_sane(size.columns) && is_sane(size.rows) => Some(ExecInput::Resize(size)),
        ExecClient::Signal { signal } if SIGNALS.contains(&signal) => Some(ExecInput::Signal(signal)),
        _ => None,
    }
}

/// From the process to the client, until either ends.
async fn speak(sink: &mut SplitSink<WebSocket, Message>, mut output: mpsc::Receiver<ExecOutput>) {
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            said = output.recv() => match said {
                Some(ExecOutput::Stdout(bytes)) => framed(FRAME_STDOUT, &bytes),
                Some(ExecOutput::Stderr(bytes)) => framed(FRAME_STDERR, &bytes),
                Some(ExecOutput::Exited(code)) => {
                    return last(sink, &ExecServer::Exit { code }).await;
                }
                None => {
                    let reject = Reject::new(ProblemCode::EngineUnavailable, "the process was cut off");
                    return last(sink, &ExecServer::Error { problem: reject.problem }).await;
                }
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

async fn last(sink: &mut SplitSink<WebSocket, Message>, message: &ExecServer) {
    // The process is over either way; a client that has left misses nothing.
    drop(sink.send(text(message)).await);
    drop(sink.close().await);
}

fn framed(stream: u8, bytes: &[u8]) -> Message {
    let mut framed = BytesMut::with_capacity(bytes.len() + 1);
    framed.put_u8(stream);
    framed.put_slice(bytes);
    Message::Binary(framed.freeze())
}

fn text(message: &ExecServer) -> Message {
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}
