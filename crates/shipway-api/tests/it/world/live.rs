//! Running containers, as the API sees them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use shipway_api::{ExecInput, ExecOutput, ExecSession, ExecSpec, Live, LiveError, LogLines, LogQuery};
use shipway_api_types::{LogLine, LogStream, Stats};
use shipway_model::ServiceId;
use tokio::sync::{mpsc, watch};

/// Logs that tests write, and a few programs.
#[derive(Debug, Default)]
pub(crate) struct FakeLive {
    logs: Mutex<HashMap<ServiceId, watch::Sender<Vec<LogLine>>>>,
    ended: Mutex<HashSet<ServiceId>>,
    stats_asked: AtomicUsize,
    /// Makes whoever asks for stats meet a bug.
    pub(crate) stats_panic: AtomicBool,
    running: Arc<AtomicUsize>,
}

impl FakeLive {
    fn log(&self, service: ServiceId) -> watch::Sender<Vec<LogLine>> {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(service).or_insert_with(|| watch::channel(Vec::new()).0);
        log.clone()
    }

    /// Prints a line in the service's container.
    pub(crate) fn print(&self, service: &str, stream: LogStream, text: &str) {
        let log = self.log(service.parse().unwrap());
        log.send_modify(|lines| {
            let number = lines.len() + 1;
            lines.push(LogLine {
                at: format!("2026-11-22T00:00:{number:02}.000000Z"),
                stream,
                partial: false,
                text: text.to_owned(),
                cursor: number.to_string(),
            });
        });
    }

    /// Ends the service's log: its container is gone.
    pub(crate) fn end(&self, service: &str) {
        self.ended.lock().unwrap().insert(service.parse().unwrap());
    }

    /// How often stats were asked for.
    pub(crate) fn stats_asked(&self) -> usize {
        self.stats_asked.load(Ordering::SeqCst)
    }

    /// Processes of execs that have not ended.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Live for FakeLive {
    async fn reachable(&self, _service: ServiceId) {}

    async fn logs(&self, service: ServiceId, query: LogQuery) -> Result<LogLines, LiveError> {
        let after: usize = match &query.after {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| LiveError::BadCursor)?,
        };
        let log = self.log(service);
        let there = log.borrow().len();
        let from = query.tail.map_or(after, |tail| there.saturating_sub(tail).max(after));
        let follow = query.follow && !self.ended.lock().unwrap().contains(&service);
        let lines = stream::unfold((log.subscribe(), from), move |(mut log, at)| async move {
            if follow {
                log.wait_for(|lines| lines.len() > at).await.ok()?;
            }
            let line = log.borrow().get(at).cloned()?;
            Some((Ok(line), (log, at + 1)))
        });
        let wanted = query.stream;
        let ours = move |line: &Result<LogLine, LiveError>| {
            std::future::ready(wanted.is_none_or(|stream| line.as_ref().is_ok_and(|l| l.stream == stream)))
        };
        Ok(lines.filter(ours).boxed())
    }

    async fn stats(&self, _: ServiceId) -> Result<Stats, LiveError> {
        self.stats_asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.stats_panic.load(Ordering::SeqCst), "a bug, as asked for");
        Ok(Stats { memory_bytes: 1 << 20, memory_limit_bytes: 256 << 20, pids: 2, ..Stats::default() })
    }

    async fn exec(&self, _: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        let program = &spec.argv[0];
        match program.as_str() {
            "missing" => return Err(LiveError::NoProgram { missing: true, detail: program.clone() }),
            "locked" => return Err(LiveError::NoProgram { missing: false, detail: program.clone() }),
            "refused" => return Err(LiveError::Refused("not this one".to_owned())),
            _ => {}
        }
        let (input, from_client) = mpsc::channel(8);
        let (to_client, output) = mpsc::channel(8);
        let running = Arc::clone(&self.running);
        running.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            process(spec, from_client, to_client).await;
            running.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(ExecSession { input, output })
    }
}

/// `exit N`, `both`, or something that says what it is told until it ends.
async fn process(spec: ExecSpec, mut input: mpsc::Receiver<ExecInput>, output: mpsc::Sender<ExecOutput>) {
    let out = |text: String| ExecOutput::Stdout(Bytes::from(text));
    match spec.argv[0].as_str() {
        "exit" => {
            let code = spec.argv[1].parse().unwrap();
            drop(output.send(ExecOutput::Exited(code)).await);
        }
        "both" => {
            drop(output.send(out("out".to_owned())).await);
            drop(output.send(ExecOutput::Stderr(Bytes::from("err"))).await);
            drop(output.send(ExecOutput::Exited(0)).await);
        }
        // Ends without a word, as when its container is lost.
        "vanish" => {}
        _ => {
            while let Some(told) = input.recv().await {
                let said = match told {
                    ExecInput::Stdin(bytes) => ExecOutput::Stdout(bytes),
                    ExecInput::Resize(size) => out(format!("{}x{}", size.columns, size.rows)),
                    ExecInput::Signal(number) => ExecOutput::Exited(128 + number),
                    ExecInput::Eof => ExecOutput::Exited(0),
                };
                let over = matches!(said, ExecOutput::Exited(_));
                if output.send(said).await.is_err() || over {
                    return;
                }
            }
        }
    }
}
