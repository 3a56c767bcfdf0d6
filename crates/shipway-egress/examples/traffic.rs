//! Both ends of the bench `egress`: one serves, the other sends, takes or only calls.
//!
//! Built static by `cargo xtask bench egress`, so that it runs in any root file system:
//! `traffic serve PORT`, and `traffic send|take|call ADDRESS:PORT AMOUNT`, which prints
//! bytes or connections a second. The first byte of a connection says which it is. Two
//! seconds of it say the same as twenty, so amounts are small: it ends by itself.

#![expect(clippy::print_stdout, reason = "a program of the bench, read by it")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Bytes written at once: more than a socket takes, so that calls cost nothing.
const BLOCK: usize = 256 << 10;
/// Longest anything is waited for.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve(port.parse().map_err(io::Error::other)?),
        [verb @ ("send" | "take" | "call"), to, amount] => {
            let to: SocketAddr = to.parse().map_err(io::Error::other)?;
            let amount = amount.parse().map_err(io::Error::other)?;
            let begun = Instant::now();
            match verb {
                "send" => send(to, amount)?,
                "take" => take(to, amount)?,
                _ => call(to, amount)?,
            }
            let rate = u128::from(amount) * 1_000_000 / begun.elapsed().as_micros().max(1);
            println!("{rate}");
            Ok(())
        }
        _ => Err(io::Error::other("serve PORT, or send|take|call ADDRESS:PORT AMOUNT")),
    }
}

fn connect(to: SocketAddr, how: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&[how])?;
    Ok(stream)
}

/// Sends so many bytes, and waits until the other side has them all.
fn send(to: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = connect(to, b's')?;
    pour(&mut stream, bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut got = [0; 8];
    stream.read_exact(&mut got)?;
    is_all(u64::from_be_bytes(got), bytes)
}

/// Takes so many bytes.
fn take(to: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = connect(to, b't')?;
    stream.write_all(&bytes.to_be_bytes())?;
    is_all(swallow(&mut stream)?, bytes)
}

/// Connects so many times, one after the other, and hangs up each time.
fn call(to: SocketAddr, count: u64) -> io::Result<()> {
    for _ in 0..count {
        let mut stream = connect(to, b'c')?;
        is_all(swallow(&mut stream)?, 0)?;
    }
    Ok(())
}

fn is_all(got: u64, wanted: u64) -> io::Result<()> {
    if got == wanted { Ok(()) } else { Err(io::Error::other(format!("{got} bytes instead of {wanted}"))) }
}

fn pour(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let block = vec![7; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        stream.write_all(&block[..now])?;
        left -= now as u64;
    }
    Ok(())
}

fn swallow(stream: &mut TcpStream) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut got = 0;
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(got),
            count => got += count as u64,
        }
    }
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    for stream in listener.incoming() {
        let stream = stream?;
        // One that breaks off is seen by the other end.
        std::thread::spawn(move || drop(answer(stream)));
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut how = [0];
    stream.read_exact(&mut how)?;
    match how {
        [b's'] => {
            let got = swallow(&mut stream)?;
            stream.write_all(&got.to_be_bytes())
        }
        [b't'] => {
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes)?;
            pour(&mut stream, u64::from_be_bytes(bytes))
        }
        _ => Ok(()),
    }
}
