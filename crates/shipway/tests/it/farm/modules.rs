//! A module proxy on loopback that can be made to wait: a build stands still where a story
//! wants it to.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use shipway_gobuild::testing::ModuleProxy;

/// Ends with the test's process.
pub(super) struct Modules {
    pub(super) address: SocketAddr,
    gate: Arc<Gate>,
    _files: ModuleProxy,
}

/// Holds whoever asks for a file.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is held: the paths that end so.
    held: Option<String>,
    /// How many wait.
    waiting: usize,
}

impl Modules {
    pub(super) fn serve(files: ModuleProxy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, gate) = (listener.local_addr().unwrap(), Arc::new(Gate::default()));
        let (root, at_the_gate) = (files.directory().to_owned(), Arc::clone(&gate));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, gate) = (root.clone(), Arc::clone(&at_the_gate));
                // Who breaks off is no concern of the others.
                std::thread::spawn(move || drop(answer(stream, &root, &gate)));
            }
        });
        Self { address, gate, _files: files }
    }

    /// From now on whoever asks for such a file waits.
    pub(super) fn hold(&self, ending: &str) {
        let mut state = self.gate.state.lock().unwrap();
        *state = State { held: Some(ending.to_owned()), waiting: 0 };
    }

    /// Whether somebody waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.gate.state.lock().unwrap().waiting > 0
    }

    /// Lets all go on.
    pub(super) fn release(&self) {
        self.gate.state.lock().unwrap().held = None;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self, path: &str) {
        let mut state = self.state.lock().unwrap();
        let is_held = |state: &State| state.held.as_ref().is_some_and(|ending| path.ends_with(ending));
        if is_held(&state) {
            state.waiting += 1;
            drop(self.changed.wait_while(state, |state| is_held(state)).unwrap());
        }
    }
}

fn answer(mut stream: TcpStream, root: &Path, gate: &Gate) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    gate.pass(path);
    let is_plain = !path.split('/').any(|part| part == "..");
    let file: Option<PathBuf> = is_plain.then(|| root.join(path.trim_start_matches('/')));
    let found = file.and_then(|file| std::fs::read(file).ok());
    let (status, content) = found.map_or_else(|| (404, b"no such version".to_vec()), |content| (200, content));
    write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len())?;
    stream.write_all(&content)
}
