//! Two sides on loopback; behind the worker's is a world that answers what a test wants.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use shipway_api::{ExecInput, ExecOutput, ExecSession, ExecSpec, Live, LiveError, LogLines, LogQuery};
use shipway_api_types::{LogLine, LogStream, Stats, TerminalSize};
use shipway_model::{ServiceId, StreamDoor};
use shipway_relay::{Identity, RemoteLive, serve};
use shipway_stdx::shutdown::{self, ShutdownSender};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

fn service() -> ServiceId {
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().unwrap()
}

fn line(text: &str) -> LogLine {
    let (at, cursor) = ("2026-01-01T00:00:00Z".to_owned(), format!("c.{text}"));
    LogLine { at, stream: LogStream::Stdout, partial: false, text: text.to_owned(), cursor }
}

/// What runs on the worker, as far as these tests know.
#[derive(Debug)]
struct World {
    /// Readers of logs and processes that are there now.
    open: watch::Sender<usize>,
    reachable: watch::Sender<usize>,
}

/// Counts itself among what is open for as long as it lives.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|count| *count += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[async_trait]
impl Live for World {
    async fn reachable(&self, _service: ServiceId) {
        self.reachable.send_modify(|count| *count += 1);
    }

    async fn logs(&self, of: ServiceId, query: LogQuery) -> Result<LogLines, LiveError> {
        assert_eq!(of, service());
        if query.after.as_deref() == Some("nonsense") {
            return Err(LiveError::BadCursor);
        }
        let lines = (0..query.tail.unwrap_or(3)).map(|n| Ok(line(&n.to_string())));
        let lines = futures_util::stream::iter(lines.collect::<Vec<_>>());
        if !query.follow {
            return Ok(lines.boxed());
        }
        let open = Open::new(&self.open);
        let rest = futures_util::stream::once(async move {
            let _open = open;
            std::future::pending().await
        });
        Ok(lines.chain(rest).boxed())
    }

    async fn stats(&self, _service: ServiceId) -> Result<Stats, LiveError> {
        Err(LiveError::NotRunning)
    }

    /// A process that says on its standard error what it hears of signals and sizes, and
    /// on its standard output what it reads, and ends with the end of it.
    async fn exec(&self, _service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        if spec.argv == ["nothing"] {
            return Err(LiveError::NoProgram { missing: true, detail: "there is no nothing".to_owned() });
        }
        let (input, mut from) = mpsc::channel(1);
        let (to, output) = mpsc::channel(1);
        let open = Open::new(&self.open);
        tokio::spawn(async move {
            let _open = open;
            while let Some(message) = from.recv().await {
                let said = match message {
                    ExecInput::Stdin(bytes) => ExecOutput::Stdout(bytes),
                    ExecInput::Eof => ExecOutput::Exited(7),
                    ExecInput::Resize(size) => ExecOutput::Stderr(format!("{size:?}").into()),
                    ExecInput::Signal(signal) => ExecOutput::Stderr(format!("signal {signal}").into()),
                };
                let is_last = matches!(said, ExecOutput::Exited(_));
                if to.send(said).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(ExecSession { input, output })
    }
}

struct Worker {
    door: StreamDoor,
    world: Arc<World>,
    _stop: ShutdownSender,
}

impl Worker {
    async fn start() -> Self {
        let identity = Identity::make().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = StreamDoor {
            address: listener.local_addr().unwrap().to_string(),
            certificate: identity.certificate().to_owned(),
            secret: identity.secret().to_owned(),
        };
        let world = Arc::new(World { open: watch::Sender::new(0), reachable: watch::Sender::new(0) });
        let (stop, shutdown) = shutdown::channel();
        tokio::spawn(serve(listener, identity, world.clone(), shutdown));
        Self { door, world, _stop: stop }
    }

    fn live(&self) -> RemoteLive {
        RemoteLive::new(self.door.clone())
    }

    async fn until_open(&self, count: usize) {
        let mut open = self.world.open.subscribe();
        timeout(LIMIT, open.wait_for(|open| *open == count)).await.expect("in time").unwrap();
    }
}

fn spec(program: &str) -> ExecSpec {
    ExecSpec { argv: vec![program.to_owned()], env: [].into(), terminal: None }
}

#[tokio::test]
async fn what_is_asked_and_what_is_refused_come_through() {
    let worker = Worker::start().await;
    let live = worker.live();
    live.reachable(service()).await;
    assert_eq!(*worker.world.reachable.borrow(), 1);
    assert_eq!(live.stats(service()).await, Err(LiveError::NotRunning));
    let refused = live.exec(service(), spec("nothing")).await.unwrap_err();
    assert_eq!(refused, LiveError::NoProgram { missing: true, detail: "there is no nothing".to_owned() });
    let bad = LogQuery { after: Some("nonsense".to_owned()), follow: true, ..LogQuery::default() };
    assert_eq!(live.logs(service(), bad).await.err(), Some(LiveError::BadCursor));
}

#[tokio::test]
async fn lines_come_in_order_and_end() {
    let worker = Worker::start().await;
    let query = LogQuery { tail: Some(500), ..LogQuery::default() };
    let lines: Vec<_> = worker.live().logs(service(), query).await.unwrap().collect().await;
    let wanted: Vec<_> = (0..500).map(|n| Ok(line(&n.to_string()))).collect();
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn who_stops_reading_leaves_nothing_open() {
    let worker = Worker::start().await;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = worker.live().logs(service(), query).await.unwrap();
    for n in 0..3 {
        assert_eq!(lines.next().await, Some(Ok(line(&n.to_string()))));
    }
    worker.until_open(1).await;
    drop(lines);
    worker.until_open(0).await;
}

#[tokio::test]
async fn a_process_hears_and_is_heard_to_its_end() {
    let worker = Worker::start().await;
    let ExecSession { input, mut output } = worker.live().exec(service(), spec("cat")).await.unwrap();
    input.send(ExecInput::Resize(TerminalSize { columns: 80, rows: 24 })).await.unwrap();
    let ExecOutput::Stderr(said) = output.recv().await.unwrap() else { panic!("not on standard error") };
    assert!(said.starts_with(b"TerminalSize"), "{said:?}");
    input.send(ExecInput::Signal(15)).await.unwrap();
    assert_eq!(output.recv().await, Some(ExecOutput::Stderr("signal 15".into())));
    // More than one frame holds.
    let much = Bytes::from(vec![b'x'; 3 << 20]);
    input.send(ExecInput::Stdin(much.clone())).await.unwrap();
    let mut back = Vec::new();
    while back.len() < much.len() {
        let Some(ExecOutput::Stdout(bytes)) = output.recv().await else { panic!("after {}", back.len()) };
        back.extend_from_slice(&bytes);
    }
    assert!(back == much);
    input.send(ExecInput::Eof).await.unwrap();
    assert_eq!(output.recv().await, Some(ExecOutput::Exited(7)));
    assert_eq!(output.recv().await, None);
    worker.until_open(0).await;
}

#[tokio::test]
async fn who_hangs_up_ends_the_process() {
    let worker = Worker::start().await;
    let ExecSession { input, output } = worker.live().exec(service(), spec("cat")).await.unwrap();
    worker.until_open(1).await;
    drop(input);
    worker.until_open(0).await;
    drop(output);
}

fn unavailable(error: &LiveError) -> &str {
    match error {
        LiveError::Unavailable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn neither_side_talks_to_a_stranger() {
    let (worker, other) = (Worker::start().await, Worker::start().await);
    // Another worker at the address: another certificate.
    let misled = RemoteLive::new(StreamDoor { address: other.door.address.clone(), ..worker.door.clone() });
    let refused = misled.stats(service()).await.unwrap_err();
    assert!(unavailable(&refused).contains("cannot be reached at 127.0.0.1"), "{refused:?}");
    assert!(!unavailable(&refused).contains(&worker.door.secret));
    // The secret of another worker, or of a life before.
    let stranger = RemoteLive::new(StreamDoor { secret: other.door.secret.clone(), ..worker.door.clone() });
    stranger.reachable(service()).await;
    unavailable(&stranger.stats(service()).await.unwrap_err());
    assert_eq!((*worker.world.reachable.borrow(), *other.world.reachable.borrow()), (0, 0));
    assert!(!format!("{:?} {stranger:?}", worker.door).contains(&worker.door.secret));
}

#[tokio::test]
async fn what_is_no_call_is_dropped_and_the_next_is_answered() {
    let worker = Worker::start().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut stream = TcpStream::connect(&worker.door.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // It may reset the connection as well.
        drop(timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await.expect("dropped in time"));
    }
    worker.live().reachable(service()).await;
    assert_eq!(*worker.world.reachable.borrow(), 1);
}

#[tokio::test]
async fn one_that_is_not_there_is_told_at_once() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let worker = Worker::start().await;
    let gone = RemoteLive::new(StreamDoor { address, ..worker.door.clone() });
    let refused = gone.logs(service(), LogQuery::default()).await.err().unwrap();
    assert!(unavailable(&refused).contains("refused"), "{refused:?}");
}
