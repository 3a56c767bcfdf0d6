//! A small world around one proxy: origins in front of it, visitors behind.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shipway_proxy::{Endpoint, FeedClient, Limits, Listener, ProxyConfig, Route, RouteState, Serves, Settings};
use shipway_stdx::shutdown::{self, ShutdownSender};
use tempfile::TempDir;

/// Nothing in these tests takes nearly as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Waits until `condition` holds; fails with `what` after [`LIMIT`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Says it is over when it goes, also by a failure: who goes on until then would go on for
/// ever, and the failure never be told.
pub(crate) struct OverAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A proxy process with a feed connected to it.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) dir: TempDir,
    pub(crate) child: Child,
    pub(crate) feed: FeedClient,
    pub(crate) runtime: tokio::runtime::Runtime,
    listeners: Vec<(String, Serves, TcpListener)>,
    stop: Option<ShutdownSender>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|settings| change(&mut settings.limits))
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_listeners(&[Serves::Both], change)
    }

    pub(crate) fn with_listeners(serves: &[Serves], change: impl FnOnce(&mut Settings)) -> Self {
        Self::made("warn", serves, change)
    }

    /// One whose log has every request.
    pub(crate) fn debugging(change: impl FnOnce(&mut Settings)) -> Self {
        Self::made("debug", &[Serves::Both], change)
    }

    fn made(level: &str, serves: &[Serves], change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::Builder::new().prefix("swp").tempdir().unwrap();
        let mut settings = Settings {
            run_dir: dir.path().to_owned(),
            snapshot_dir: dir.path().to_owned(),
            user: None,
            host_suffixes: vec!["localhost".to_owned()],
            api_hosts: vec!["api.test".to_owned()],
            instance: "test".to_owned(),
            threads: 2,
            routes_wait: Duration::ZERO,
            fast_path: true,
            limits: Limits::default(),
        };
        change(&mut settings);
        let listeners: Vec<_> = serves
            .iter()
            .enumerate()
            .map(|(n, serves)| (format!("l{n}"), *serves, TcpListener::bind("127.0.0.1:0").unwrap()))
            .collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (feed, stop) = connect(&runtime, &settings);
        let world = Self {
            address: listeners[0].2.local_addr().unwrap(),
            child: spawn(level, &settings, &listeners),
            settings,
            dir,
            feed,
            runtime,
            listeners,
            stop: Some(stop),
        };
        world.await_feed();
        world
    }

    pub(crate) fn await_feed(&self) {
        self.runtime.block_on(self.feed.connected(LIMIT)).expect("a proxy to talk to");
    }

    pub(crate) fn address_of(&self, listener: usize) -> SocketAddr {
        self.listeners[listener].2.local_addr().unwrap()
    }

    /// Takes the control plane away.
    pub(crate) fn lose_control_plane(&mut self) {
        drop(self.stop.take());
        wait_until("the feed is gone", || !self.feed.is_connected());
    }

    /// Kills the process and starts another on the same sockets and directories.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn("warn", &self.settings, &self.listeners);
    }

    /// What the proxy has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Publishes one route and waits until the proxy goes by it.
    pub(crate) fn route(&self, name: &str, state: RouteState) {
        self.set(route(name, state));
    }

    pub(crate) fn set(&self, route: Route) {
        // A first full list opens the feed; later changes go one by one.
        if self.runtime.block_on(self.feed.applied(1, Duration::ZERO)).is_err() {
            self.feed.publish([]);
        }
        let generation = self.feed.set(route);
        self.runtime.block_on(self.feed.applied(generation, LIMIT)).expect("the route applied");
    }

    /// Starts an origin and routes `name` to it.
    pub(crate) fn origin(&self, name: &str, handle: impl Fn(&mut UnixStream, usize) + Send + Sync + 'static) -> Origin {
        let origin = Origin::start(&self.path(&format!("{name}.sock")), handle);
        self.route(name, origin.live());
        origin
    }

    /// An origin that records requests and answers each with `answer`.
    pub(crate) fn answering(&self, name: &str, answer: impl Into<Vec<u8>>) -> Origin {
        let answer = answer.into();
        self.origin_recording(name, move |stream, _| stream.write_all(&answer).is_ok())
    }

    /// An origin that records each request whole, then calls `respond`.
    pub(crate) fn origin_recording(
        &self,
        name: &str,
        respond: impl Fn(&mut UnixStream, &str) -> bool + Send + Sync + 'static,
    ) -> Origin {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = Arc::clone(&seen);
        let mut origin = self.origin(name, move |stream, _| {
            while let Some(request) = read_request(stream) {
                record.lock().unwrap().push(request.clone());
                if !respond(stream, &request) {
                    return;
                }
            }
        });
        origin.seen = seen;
        origin
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect_to(self.address)
    }

    /// Sends `request` on a new connection and returns all that comes back.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> String {
        ask(self.address, request)
    }

    /// A plain GET that closes.
    pub(crate) fn get(&self, host: &str) -> String {
        self.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Waits at most `limit` until nothing is in flight to `origin`.
    pub(crate) fn is_idle(&self, origin: &Origin, limit: Duration) -> bool {
        self.runtime.block_on(self.feed.wait_idle(&origin.endpoint(), limit))
    }

    /// One of the proxy's counters.
    pub(crate) fn metric(&self, line_start: &str) -> u64 {
        let page = self.runtime.block_on(self.feed.metrics()).unwrap();
        let prefix = format!("shipway_proxy_{line_start} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {prefix} in {page}")).parse().unwrap()
    }
}

fn connect(runtime: &tokio::runtime::Runtime, settings: &Settings) -> (FeedClient, ShutdownSender) {
    let socket = settings.run_dir.join(shipway_proxy::wire::CONTROL_SOCKET);
    let (feed, task) = FeedClient::new(socket, settings.instance.clone());
    let (sender, shutdown) = shutdown::channel();
    runtime.spawn(task.run(shutdown));
    (feed, sender)
}

impl World {
    /// A second control plane, as an upgraded `serve` would be.
    pub(crate) fn another_feed(&self) -> (FeedClient, ShutdownSender) {
        connect(&self.runtime, &self.settings)
    }
}

pub(crate) fn program() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let target = me.parent().and_then(Path::parent).unwrap();
    target.join("examples/proxy_process")
}

fn spawn(level: &str, settings: &Settings, listeners: &[(String, Serves, TcpListener)]) -> Child {
    let listeners = listeners.iter().map(|(name, serves, socket)| Listener {
        name: name.clone(),
        serves: *serves,
        socket: socket.try_clone().unwrap(),
    });
    let config = ProxyConfig { settings: settings.clone(), listeners: listeners.collect() };
    let log = settings.run_dir.join("log");
    shipway_proxy::startup::start(&program(), &[level, &log.to_string_lossy()], &config).unwrap()
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn route(name: &str, state: RouteState) -> Route {
    let id = format!("id-{name}");
    Route::new(id.clone(), name.to_owned(), vec![id, name.to_owned()], state)
}

pub(crate) fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

pub(crate) fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect_to(address);
    stream.write_all(request.as_ref()).unwrap();
    read_to_end(&mut stream)
}

/// Reads until the other side closes. A reset after an answer is an end, too.
pub(crate) fn read_to_end(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has come.
pub(crate) fn read_until(stream: &mut impl Read, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Reads one request whole, as bytes on the wire; `None` at the end of the connection.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    let mut more = |bytes: &mut Vec<u8>| match stream.read(&mut byte) {
        Ok(1) => {
            bytes.push(byte[0]);
            true
        }
        _ => false,
    };
    while !bytes.ends_with(b"\r\n\r\n") {
        if !more(&mut bytes) {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        let start = bytes.len();
        loop {
            if !more(&mut bytes) {
                return None;
            }
            let body = &bytes[start..];
            let is_last = body.starts_with(b"0\r\n") || body.windows(5).any(|w| w == b"\r\n0\r\n");
            if is_last && body.ends_with(b"\r\n\r\n") {
                break;
            }
        }
    } else if let Some(at) = head.find("content-length: ") {
        let length: usize = head[at + 16..].lines().next().unwrap().trim().parse().unwrap();
        for _ in 0..length {
            if !more(&mut bytes) {
                return None;
            }
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A service, seen from behind: a unix listener with a thread per connection.
pub(crate) struct Origin {
    pub(crate) path: PathBuf,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    pub(crate) accepted: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) fn start(path: &Path, handle: impl Fn(&mut UnixStream, usize) + Send + Sync + 'static) -> Self {
        drop(std::fs::remove_file(path));
        let listener = UnixListener::bind(path).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, handle) = (Arc::clone(&accepted), Arc::new(handle));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let number = count.fetch_add(1, Ordering::SeqCst);
                let handle = Arc::clone(&handle);
                std::thread::spawn(move || handle(&mut stream, number));
            }
        });
        Self { path: path.to_owned(), seen: Arc::default(), accepted }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix { path: self.path.to_str().unwrap().to_owned() }
    }

    pub(crate) fn live(&self) -> RouteState {
        RouteState::Live { endpoint: self.endpoint() }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A small 200 with a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
