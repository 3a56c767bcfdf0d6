//! Visitors of whom every single one is counted: those who ask again and again, and
//! those whose one request lasts.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::ensure;

/// No answer is waited for longer.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of everybody.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How long each answer took, in milliseconds.
    pub(super) times: Vec<f64>,
    /// What went wrong, in words.
    pub(super) failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failures.extend(other.failures);
    }

    /// The time that so much of a hundred answers did not take longer than.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

/// Visitors who ask without pause, on connections they keep as long as they may.
pub(super) struct Crowd {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Crowd {
    pub(super) fn start(address: SocketAddr, host: &str, visitors: usize) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        for _ in 0..visitors {
            let (stop, asked, host) = (Arc::clone(&stop), Arc::clone(&asked), host.to_owned());
            threads.push(std::thread::spawn(move || visit(address, &host, &stop, &asked)));
        }
        Self { stop, asked, threads }
    }

    /// How many have been answered, well or not.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn end(self) -> anyhow::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for thread in self.threads {
            all.add(thread.join().map_err(|_| anyhow::anyhow!("a visitor panicked"))?);
        }
        Ok(all)
    }
}

fn visit(address: SocketAddr, host: &str, stop: &AtomicBool, asked: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match ask(&mut connection, address, host) {
            Ok(200) => tally.times.push(began.elapsed().as_secs_f64() * 1000.0),
            Ok(status) => tally.failures.push(format!("status {status}")),
            Err(error) => {
                connection = None;
                tally.failures.push(error.to_string());
            }
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

/// Asks on the connection that is kept, or on a new one; keeps it if it may be kept.
fn ask(kept: &mut Option<BufReader<TcpStream>>, address: SocketAddr, host: &str) -> io::Result<u16> {
    let mut reader = match kept.take() {
        Some(reader) => reader,
        None => connect(address)?,
    };
    write!(reader.get_mut(), "GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
    let head = Head::read(&mut reader)?;
    io::copy(&mut reader.by_ref().take(head.length), &mut io::sink())?;
    *kept = (!head.closes).then_some(reader);
    Ok(head.status)
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// What of an answer's head is needed to read on.
struct Head {
    status: u16,
    length: u64,
    closes: bool,
}

impl Head {
    fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Self> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
        let mut head = Self { status, length: 0, closes: false };
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().unwrap_or(0),
                "connection" => head.closes = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }
}

/// Uploads that go on until they are ended: the service answers with their length.
pub(super) struct Uploads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Uploads {
    pub(super) fn start(address: SocketAddr, host: &str, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..count {
            let (stop, host) = (Arc::clone(&stop), host.to_owned());
            threads.push(std::thread::spawn(move || upload(address, &host, &stop)));
        }
        Self { stop, threads }
    }

    /// Ends them all, and says how many were cut.
    pub(super) fn end(self) -> anyhow::Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut cut = Vec::new();
        for thread in self.threads {
            let ended = thread.join().map_err(|_| anyhow::anyhow!("an upload panicked"))?;
            cut.extend(ended.err().map(|error| error.to_string()));
        }
        Ok(cut)
    }
}

/// Sends a chunk now and then until told to stop, and checks what was received.
fn upload(address: SocketAddr, host: &str, stop: &AtomicBool) -> io::Result<()> {
    let mut reader = connect(address)?;
    write!(
        reader.get_mut(),
        "POST / HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )?;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        write!(reader.get_mut(), "8\r\nshipway\n\r\n")?;
        sent += 8;
        std::thread::park_timeout(Duration::from_millis(50));
    }
    write!(reader.get_mut(), "0\r\n\r\n")?;
    let mut answer = String::new();
    reader.read_to_string(&mut answer)?;
    let received = answer.trim_end().rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    if answer.starts_with("HTTP/1.1 200") && received.is_some() && answer.contains(&format!("{sent}\n")) {
        return Ok(());
    }
    Err(io::Error::other(format!("{sent} bytes were sent, and the answer was {answer:?}")))
}

/// Fails unless nobody failed; says who did.
pub(super) fn assert_some(tally: &Tally) -> anyhow::Result<()> {
    ensure!(!tally.times.is_empty(), "nobody was answered: {:?}", tally.failures.first());
    Ok(())
}
