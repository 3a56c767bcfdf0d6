//! A real S3 server, Python's `moto`, as a process of its own (`scripts/setup.sh test` installs it).
//!
//! It keeps what it has in memory, and ends when its standard input does, that is with us, however
//! we end.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::http;

const PROGRAM: &str = "import os, sys, threading\n\
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n\
    from moto.server import main\n\
    main(['-H', '127.0.0.1', '-p', '0'])\n";

/// A server that runs. It asks for no signature, so any key opens it.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    child: Child,
}

impl Moto {
    /// Starts one without buckets.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not say where it listens.
    pub fn start() -> io::Result<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/moto/bin/python");
        if !python.exists() {
            return Err(io::Error::other("there is no moto: run scripts/setup.sh test"));
        }
        let mut command = Command::new(python);
        command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let told = child.stderr.take().ok_or_else(|| io::Error::other("its words are piped"))?;
        let mut lines = BufReader::new(told).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("Running on http://").and_then(|(_, address)| address.trim().parse().ok())
        });
        // It tells of each request: somebody has to listen, or it stops.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or_else(|| io::Error::other("moto does not say where it is"))?;
        Ok(Self { address, child })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket.
    ///
    /// # Errors
    ///
    /// Those of the connection, and what it says instead of 200.
    pub fn make_bucket(&self, name: &str) -> io::Result<()> {
        let answer = http::request(self.address, "PUT", "localhost", &format!("/{name}"), &[], b"")?;
        if answer.status == 200 { Ok(()) } else { Err(io::Error::other(answer.text())) }
    }

    /// The keys of a bucket's objects, the first thousand.
    ///
    /// # Errors
    ///
    /// As [`make_bucket`](Self::make_bucket).
    pub fn keys(&self, bucket: &str) -> io::Result<Vec<String>> {
        let answer = http::get(self.address, "localhost", &format!("/{bucket}?list-type=2"))?;
        if answer.status != 200 {
            return Err(io::Error::other(answer.text()));
        }
        let text = answer.text();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        Ok(keys.map(|(key, _)| key.to_owned()).collect())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
