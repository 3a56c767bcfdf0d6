//! `shipway exec`: a command in a service's container, as if it ran here.

use std::io::Read as _;

use shipway_client::{Exec as Session, ExecInput, ExecOutput, ExecOutputs, ExecStart};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::terminal::{self, RawMode};
use crate::args::Exec;
use crate::ask::Asker;
use crate::exit::Failure;
use crate::output::Output;

/// Pieces of input that may wait to be sent.
const INPUT_BACKLOG: usize = 8;

pub(super) async fn exec(args: Exec, asker: &Asker, _output: &Output) -> Result<u8, Failure> {
    if args.tty && !asker.surroundings.stdin_is_terminal {
        return Err(Failure::new(2, "standard input is no terminal").hint("leave -t away to run without one"));
    }
    let start = ExecStart {
        argv: args.argv,
        env: args.env.into_iter().map(|pair| (pair.key, pair.value)).collect(),
        terminal: args.tty.then(terminal::size),
    };
    let Session { input, output } = asker.client.exec(&args.service, start).await?;
    let raw = if args.tty {
        let failed = |error| Failure::new(1, format!("cannot set the terminal to raw mode: {error}"));
        Some(RawMode::begin().map_err(failed)?)
    } else {
        None
    };
    let sending = tokio::spawn(send(input, args.interactive, args.tty));
    let result = show(output).await;
    sending.abort();
    drop(raw);
    result
}

/// Prints what comes until the process has ended.
async fn show(mut stream: ExecOutputs) -> Result<u8, Failure> {
    while let Some(event) = stream.next().await? {
        match event {
            ExecOutput::Stdout(bytes) => write(&mut std::io::stdout().lock(), &bytes),
            ExecOutput::Stderr(bytes) => write(&mut std::io::stderr().lock(), &bytes),
            ExecOutput::Exited(code) => return Ok(u8::try_from(code).unwrap_or(1)),
        }
    }
    Err(Failure::new(5, "the connection was closed before the command ended"))
}

/// A reader that has gone away is no failure of the command's.
fn write(to: &mut impl std::io::Write, bytes: &[u8]) {
    drop(to.write_all(bytes).and_then(|()| to.flush()));
}

/// Sends standard input and the terminal's sizes until the connection ends.
async fn send(mut keys: ExecInput, interactive: bool, tty: bool) {
    let mut input = interactive.then(read_input);
    if !interactive && keys.eof().await.is_err() {
        return;
    }
    let Ok(mut resized) = signal(SignalKind::window_change()) else { return };
    loop {
        let sent = tokio::select! {
            piece = next(&mut input) => match piece {
                Some(piece) => keys.stdin(&piece).await,
                None => {
                    input = None;
                    keys.eof().await
                }
            },
            Some(()) = resized.recv(), if tty => keys.resize(terminal::size()).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// A thread that reads: a blocked read of a terminal cannot be taken back, and
/// must not hold up the end of the program.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUT_BACKLOG);
    std::thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while let Ok(n @ 1..) = std::io::stdin().lock().read(&mut piece) {
            if sender.blocking_send(piece[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}
