//! `shipway exec`: a command in a service's container, at this terminal.

use std::io::Read;

use bytes::Bytes;
use shipway_client::{Error, Exec, ExecInput, ExecOutput, ExecOutputs, ExecStart};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::Context;
use crate::args::ExecArgs;
use crate::failure::Failure;
use crate::terminal::{self, RawMode};

const READ_BYTES: usize = 16 << 10;
/// Pieces of input under way; a fast typist has one.
const INPUT_BACKLOG: usize = 4;
/// What a signal adds to a process's status.
const BY_SIGNAL: u8 = 128;

pub(super) async fn exec(context: &mut Context, args: ExecArgs) -> Result<u8, Failure> {
    if args.tty && args.interactive && !context.env.surroundings.stdin_is_terminal {
        return Err(Failure::Usage("-t wants a terminal, and standard input is none: leave it out".to_owned()));
    }
    let client = context.client()?;
    let start = ExecStart {
        argv: args.command,
        env: args.env.into_iter().map(|pair| (pair.key, pair.value)).collect(),
        terminal: args.tty.then(terminal::size),
    };
    let cannot_listen = |error| Failure::Io("cannot listen to signals".to_owned(), error);
    let resize = signal(SignalKind::window_change()).map_err(cannot_listen)?;
    let (passed_on, ours) = (Ending::new().map_err(cannot_listen)?, Ending::new().map_err(cannot_listen)?);
    let exec = client.exec(&args.name, start).await?;
    let keys = if args.interactive {
        read_apart(std::mem::replace(&mut context.env.stdin, Box::new(std::io::empty())))
    } else {
        // Its sender is gone: that is the end of the input.
        mpsc::channel(1).1
    };
    let raw = if args.tty && args.interactive {
        let raw = RawMode::begin();
        Some(raw.map_err(|error| Failure::Io("cannot take the terminal".to_owned(), error))?)
    } else {
        None
    };
    let feed = Feed { keys, resize, ending: passed_on };
    let result = talk(context, exec, feed, ours).await;
    // Before anything is said about how it ended.
    drop(raw);
    result
}

/// Reads standard input on a thread of its own, which may well outlive us: a read
/// of a terminal cannot be called back.
fn read_apart(mut input: Box<dyn Read + Send>) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(INPUT_BACKLOG);
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(read @ 1..) = input.read(&mut buffer) {
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..read])).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Signals that would end us. Every instance sees every signal.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ending {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one.
    async fn recv(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hang_up.recv() => SignalKind::hangup().as_raw_value(),
        }
    }
}

/// What goes to the process.
struct Feed {
    keys: mpsc::Receiver<Bytes>,
    resize: Signal,
    ending: Ending,
}

/// Carries bytes both ways until the process ends. The two ways must not wait for
/// each other: a process that cannot print does not read either.
async fn talk(context: &mut Context, exec: Exec, feed: Feed, mut ending: Ending) -> Result<u8, Failure> {
    let Exec { mut input, output } = exec;
    let twice = async {
        ending.recv().await;
        ending.recv().await
    };
    tokio::select! {
        result = hear(context, output) => result,
        result = feed_quietly(&mut input, feed) => result,
        // The first signal was passed on; the second means us.
        number = twice => Ok(BY_SIGNAL + u8::try_from(number).unwrap_or(0)),
    }
}

/// From the process to us, until it ends.
async fn hear(context: &mut Context, mut output: ExecOutputs) -> Result<u8, Failure> {
    loop {
        match output.next().await? {
            Some(ExecOutput::Stdout(bytes)) => write(&mut context.env.stdout, &bytes)?,
            Some(ExecOutput::Stderr(bytes)) => write(&mut context.env.stderr, &bytes)?,
            Some(ExecOutput::Exited(code)) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            None => return Err(Failure::Said("the command was cut off".to_owned(), None)),
        }
    }
}

/// [`feed`] never ends: when nothing can be sent any more, the output tells why.
async fn feed_quietly(input: &mut ExecInput, feed: Feed) -> Result<u8, Failure> {
    drop(self::feed(input, feed).await);
    std::future::pending().await
}

/// From us to the process, until that cannot be.
async fn feed(input: &mut ExecInput, mut feed: Feed) -> Result<(), Error> {
    let mut open = true;
    loop {
        tokio::select! {
            pressed = feed.keys.recv(), if open => match pressed {
                Some(bytes) => input.stdin(&bytes).await?,
                None => {
                    open = false;
                    input.eof().await?;
                }
            },
            Some(()) = feed.resize.recv() => input.resize(terminal::size()).await?,
            number = feed.ending.recv() => input.signal(number).await?,
        }
    }
}

fn write(out: &mut (dyn std::io::Write + Send), bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::output)
}
