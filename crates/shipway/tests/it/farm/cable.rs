//! A connection to a server that can be pulled out: whoever is connected is cut off, whoever
//! comes is turned away.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Ends with the test's process.
pub(super) struct Cable {
    pub(super) address: SocketAddr,
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    is_pulled: bool,
    open: Vec<TcpStream>,
    turned_away: usize,
}

impl Cable {
    pub(super) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, line) = (listener.local_addr().unwrap(), Arc::<Mutex<Line>>::default());
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who breaks off is no concern of the others.
                drop(connect(client, server, &shared));
            }
        });
        Self { address, line }
    }

    pub(super) fn pull(&self) {
        let mut line = self.line.lock().unwrap();
        (line.is_pulled, line.turned_away) = (true, 0);
        for stream in line.open.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    pub(super) fn plug(&self) {
        self.line.lock().unwrap().is_pulled = false;
    }

    /// How many came in vain since it was pulled.
    pub(super) fn turned_away(&self) -> usize {
        self.line.lock().unwrap().turned_away
    }
}

fn connect(client: TcpStream, server: SocketAddr, line: &Mutex<Line>) -> io::Result<()> {
    let mut line = line.lock().unwrap();
    if line.is_pulled {
        line.turned_away += 1;
        return Ok(());
    }
    let there = TcpStream::connect(server)?;
    line.open.extend([client.try_clone()?, there.try_clone()?]);
    for (mut from, mut to) in [(client.try_clone()?, there.try_clone()?), (there, client)] {
        std::thread::spawn(move || {
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
    Ok(())
}
