//! How soon what is built already is answered, on a connection of its own each time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::ensure;
use shipway_testkit::http;

use super::VERSION;
use super::farm::{Farm, arch};

/// Times each is asked; the first few fill what is remembered.
const TIMES: usize = 300;
const FIRST: usize = 20;

/// Nobody waits longer for what is there.
const LIMIT: Duration = Duration::from_secs(30);

/// Half of all, and 99 of 100, in milliseconds.
pub(super) struct Answers {
    pub(super) head: [f64; 2],
    pub(super) first_byte: [f64; 2],
}

impl Answers {
    /// Asks for Caddy alone, which is built.
    pub(super) fn measure(farm: &Farm) -> anyhow::Result<Self> {
        let query = format!("os=linux&arch={}&version={VERSION}", arch());
        let (head, first) = (format!("/api/download?{query}"), format!("/api/compat?{query}"));
        Ok(Self { head: times(|| asked(farm, &head))?, first_byte: times(|| first_byte(farm, &first))? })
    }
}

fn times(mut once: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<[f64; 2]> {
    let mut all = Vec::with_capacity(TIMES);
    for time in 0..TIMES + FIRST {
        let took = once()?;
        if time >= FIRST {
            all.push(took.as_secs_f64() * 1000.0);
        }
    }
    all.sort_by(f64::total_cmp);
    Ok([all[TIMES / 2], all[TIMES * 99 / 100]])
}

fn asked(farm: &Farm, path: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let answer = http::request(farm.platform.address(), "HEAD", "localhost", path, &[], b"")?;
    ensure!(answer.status == 200, "HEAD answered {}", answer.status);
    Ok(begun.elapsed())
}

/// Until a byte of the binary is there; the rest is not read.
fn first_byte(farm: &Farm, path: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&farm.platform.address(), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the answer ended before its first byte: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..read]);
        let head = said.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|at| said.len() > at + 4) {
            ensure!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said[..200.min(said.len())]));
            return Ok(begun.elapsed());
        }
    }
}
