//! An exec's messages, from process to wire and back, at either end.

use std::io;

use bytes::Bytes;
use shipway_api::{ExecInput, ExecOutput, ExecSession};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::SIGN_EVERY;
use crate::wire::{Frame, Incoming, Outgoing, Said, Told, read};

/// Bytes of one frame of data: a process may hand over more at once.
const DATA_BYTES_MAX: usize = 64 << 10;

/// Messages that may wait between an exec's two ends.
const BACKLOG: usize = 16;

/// The worker's end: carries messages until the process has ended or the caller is gone,
/// which kills it.
pub(crate) async fn between<S: AsyncRead + AsyncWrite>(
    session: ExecSession,
    mut incoming: Incoming<S>,
    outgoing: &mut Outgoing<S>,
) -> io::Result<()> {
    let ExecSession { input, mut output } = session;
    let inwards = async {
        // An error is a caller that has gone without a word, and means the same.
        while let Ok(Some(frame)) = incoming.next().await {
            let Ok(message) = input_of(frame) else { break };
            if input.send(message).await.is_err() {
                // It reads no more; its end is told in the other direction.
                std::future::pending::<()>().await;
            }
        }
    };
    let outwards = async {
        loop {
            tokio::select! {
                message = output.recv() => match message {
                    Some(message) => {
                        let is_last = matches!(message, ExecOutput::Exited(_));
                        send_output(outgoing, message).await?;
                        if is_last {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                () = sleep(SIGN_EVERY) => outgoing.send(Frame::Sign).await?,
            }
        }
    };
    tokio::select! {
        () = inwards => Ok(()),
        done = outwards => done,
    }
}

async fn send_output<S: AsyncWrite>(outgoing: &mut Outgoing<S>, message: ExecOutput) -> io::Result<()> {
    let (mut bytes, frame): (Bytes, fn(Bytes) -> Frame) = match message {
        ExecOutput::Stdout(bytes) => (bytes, Frame::Data),
        ExecOutput::Stderr(bytes) => (bytes, Frame::Errors),
        ExecOutput::Exited(code) => return outgoing.say(&Said::Exited(code)).await,
    };
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(DATA_BYTES_MAX));
        outgoing.send(frame(piece)).await?;
    }
    Ok(())
}

fn input_of(frame: Frame) -> io::Result<ExecInput> {
    match frame {
        Frame::Data(bytes) => Ok(ExecInput::Stdin(bytes)),
        Frame::Words(words) => Ok(match read(&words)? {
            Told::Eof => ExecInput::Eof,
            Told::Resize(size) => ExecInput::Resize(size),
            Told::Signal(signal) => ExecInput::Signal(signal),
        }),
        Frame::Errors(_) | Frame::Sign => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The api's end: a session like any other. Dropping its input ends the connection, and that
/// the process.
pub(crate) fn session<S>(mut incoming: Incoming<S>, mut outgoing: Outgoing<S>) -> ExecSession
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, mut from_caller) = mpsc::channel(BACKLOG);
    let (to_caller, output) = mpsc::channel(BACKLOG);
    let inwards = async move {
        while let Ok(Some(frame)) = incoming.next().await {
            let Ok(message) = output_of(frame) else { break };
            let is_last = matches!(message, ExecOutput::Exited(_));
            if to_caller.send(message).await.is_err() || is_last {
                break;
            }
        }
    };
    let outwards = async move {
        loop {
            let sent = tokio::select! {
                message = from_caller.recv() => match message {
                    Some(message) => send_input(&mut outgoing, message).await,
                    None => return,
                },
                () = sleep(SIGN_EVERY) => outgoing.send(Frame::Sign).await,
            };
            if sent.is_err() {
                return std::future::pending().await;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = inwards => {}
            () = outwards => {}
        }
    });
    ExecSession { input, output }
}

async fn send_input<S: AsyncWrite>(outgoing: &mut Outgoing<S>, message: ExecInput) -> io::Result<()> {
    match message {
        ExecInput::Stdin(mut bytes) => {
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(DATA_BYTES_MAX));
                outgoing.send(Frame::Data(piece)).await?;
            }
            Ok(())
        }
        ExecInput::Eof => outgoing.say(&Told::Eof).await,
        ExecInput::Resize(size) => outgoing.say(&Told::Resize(size)).await,
        ExecInput::Signal(signal) => outgoing.say(&Told::Signal(signal)).await,
    }
}

fn output_of(frame: Frame) -> io::Result<ExecOutput> {
    match frame {
        Frame::Data(bytes) => Ok(ExecOutput::Stdout(bytes)),
        Frame::Errors(bytes) => Ok(ExecOutput::Stderr(bytes)),
        Frame::Words(words) => match read(&words)? {
            Said::Exited(code) => Ok(ExecOutput::Exited(code)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
        Frame::Sign => Err(io::ErrorKind::InvalidData.into()),
    }
}
