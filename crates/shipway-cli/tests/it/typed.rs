//! Typing a command: what it prints and how it exits.

use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex};

use clap::Parser;
use shipway_cli::{Cli, Env, Surroundings};

use crate::world::World;

/// What a command printed, and its exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A stream that can be read afterwards.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Standard output that nobody reads any more.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Types `shipway <line>`, words separated by spaces.
pub(crate) async fn typed(world: &World, line: &str) -> Typed {
    typed_at(&world.address("admin"), line, b"").await
}

/// The same with standard input, and wherever the server is.
pub(crate) async fn typed_at(url: &str, line: &str, input: &[u8]) -> Typed {
    let (out, err) = (Kept::default(), Kept::default());
    let env = env(Box::new(Cursor::new(input.to_vec())), Box::new(out.clone()), Box::new(err.clone()));
    let code = run(url, line, env).await;
    Typed { code, out: out.text(), err: err.text() }
}

/// Types a command that does not end, and reads what it prints until that is enough.
pub(crate) async fn typed_until(world: &World, line: &str, is_enough: impl Fn(&str) -> bool) -> String {
    let out = Kept::default();
    let env = env(Box::new(std::io::empty()), Box::new(out.clone()), Box::new(Kept::default()));
    let url = world.address("admin");
    let mut typed = std::pin::pin!(run(&url, line, env));
    loop {
        let a_moment = tokio::time::sleep(std::time::Duration::from_millis(20));
        tokio::select! {
            code = &mut typed => panic!("{line} ended with {code}: {}", out.text()),
            () = a_moment => if is_enough(&out.text()) { return out.text() },
        }
    }
}

/// The exit status when whoever read the output has left.
pub(crate) async fn typed_into_nothing(world: &World, line: &str) -> u8 {
    let env = env(Box::new(std::io::empty()), Box::new(Closed), Box::new(Kept::default()));
    run(&world.address("admin"), line, env).await
}

async fn run(url: &str, line: &str, env: Env) -> u8 {
    let words = ["shipway", "--url", url].into_iter().chain(line.split(' ').filter(|word| !word.is_empty()));
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    shipway_cli::run_in(cli, env).await
}

fn env(stdin: Box<dyn Read + Send>, stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Env {
    Env {
        surroundings: Surroundings::default(),
        token_files: Vec::new(),
        stdin,
        stdout,
        stderr,
        // 2100: whatever the store's clock says, ages are long.
        now_seconds: 4_102_444_800,
    }
}
