//! A small internet: origins that do as they are told, and names for them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use shipway_fetch::{Blobs, FetchConfig, FetchError, Fetcher, Resolver, Timeouts};
use shipway_model::{FailureCode, Source};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A public address.
pub(crate) const PUBLIC: &str = "127.1.0.1";

/// One thing an origin does once it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends this.
    Say(Vec<u8>),
    /// Sends this again and again, after so long each time.
    Repeat(Vec<u8>, Duration),
    /// Does nothing any more, and keeps the connection.
    Hang,
}

/// `Say`, with `\n` for CR LF.
pub(crate) fn say(text: &str) -> Act {
    Act::Say(text.replace('\n', "\r\n").into_bytes())
}

/// A server; the last act of a connection is to close it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// Requests it has read, as sent.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Origin {
    /// Answers every connection with the same acts.
    pub(crate) async fn start(ip: &str, acts: &[Act]) -> Self {
        let acts = acts.to_vec();
        Self::wrapped(ip, move |_| acts.clone(), |stream| async { Some(stream) }).await
    }

    /// Answers the nth connection with what `acts` says.
    pub(crate) async fn start_with(ip: &str, acts: impl Fn(usize) -> Vec<Act> + Send + 'static) -> Self {
        Self::wrapped(ip, acts, |stream| async { Some(stream) }).await
    }

    /// Speaks through what `wrap` makes of a connection.
    pub(crate) async fn wrapped<S, W, F>(ip: &str, acts: impl Fn(usize) -> Vec<Act> + Send + 'static, wrap: W) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        W: Fn(tokio::net::TcpStream) -> F + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (counter, log) = (connections.clone(), requests.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acts = acts(counter.fetch_add(1, Ordering::SeqCst));
                let (stream, log) = (wrap(stream), log.clone());
                served.spawn(async move {
                    if let Some(stream) = stream.await {
                        // A client that had enough is no concern of an origin's.
                        serve(stream, acts, &log).await.ok();
                    }
                });
            }
        });
        Self { address, requests, connections, _tasks: tasks }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    acts: Vec<Act>,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    log.lock().unwrap().push(String::from_utf8(request).unwrap());
    for act in acts {
        match act {
            Act::Say(bytes) => stream.write_all(&bytes).await?,
            Act::Repeat(bytes, pause) => loop {
                stream.write_all(&bytes).await?;
                tokio::time::sleep(pause).await;
            },
            // Until the client goes.
            Act::Hang => drop(stream.read_u8().await),
        }
    }
    stream.shutdown().await
}

/// Names, and what is answered for each the first time, the second, …; the last
/// answer stays.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn with(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.answers.insert(name.to_owned(), answers.iter().map(parse).collect());
        self
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            if host == "never.test" {
                std::future::pending::<()>().await;
            }
            let mut asked = self.asked.lock().unwrap();
            let times = asked.iter().filter(|name| *name == host).count();
            asked.push(host.to_owned());
            let answers = self.answers.get(host).ok_or_else(|| io::Error::other("no such name"))?;
            Ok(answers[times.min(answers.len() - 1)].clone())
        })
    }
}

/// A fetcher with its store.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fetcher: Fetcher,
    pub(crate) blobs: Blobs,
    pub(crate) names: Arc<Names>,
    folder: tempfile::TempDir,
}

/// Long enough for a busy machine, whose disk may take seconds to sync; tests of
/// time have shorter ones.
pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    resolve: Duration::from_millis(300),
    connect: Duration::from_secs(10),
    head: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(60),
};

impl World {
    pub(crate) fn new(names: Names) -> Self {
        Self::with(names, |_| {})
    }

    pub(crate) fn with(names: Names, change: impl FnOnce(&mut FetchConfig)) -> Self {
        let names = Arc::new(names);
        let mut config = FetchConfig {
            allow: "127.1.0.0/16".parse().unwrap(),
            cap_bytes: 1 << 20,
            timeouts: TIMEOUTS,
            resolver: names.clone(),
            ..FetchConfig::default()
        };
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        Self { fetcher: Fetcher::new(config).unwrap(), blobs, names, folder }
    }

    pub(crate) async fn fetch(&self, url: &str) -> Result<Source, FetchError> {
        self.fetcher.fetch(&self.fetcher.check(url)?, &self.blobs).await
    }

    /// Fetches what cannot be, and checks that nothing of it is kept.
    #[track_caller]
    pub(crate) fn fails<'a>(&'a self, url: &'a str) -> impl Future<Output = (FailureCode, String)> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let error = match self.fetch(url).await {
                Err(error) => error,
                Ok(source) => panic!("{url} was fetched at {caller}: {source:?}"),
            };
            self.assert_nothing_kept();
            (error.code(), error.detail())
        }
    }

    #[track_caller]
    pub(crate) fn assert_nothing_kept(&self) {
        assert!(self.blobs.list().unwrap().is_empty());
        assert_eq!(self.partial_files(), 0);
    }

    pub(crate) fn partial_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("partial")).unwrap().count()
    }
}

/// Waits until `condition` holds, for a bounded time.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
