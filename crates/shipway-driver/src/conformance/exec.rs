//! Further processes in a running container.

use super::{Candidate, Script, within};
use crate::{DriverError, ExecInput, ExecOutput, ExecSession, ExecSpec};

/// Input goes in, output comes out, the status comes last; signals arrive.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn exec_streams_and_status(candidate: &Candidate) {
    let container = candidate.start(&Script::Stay).await;
    let session = |script: Script| async move {
        let spec = ExecSpec { argv: script.argv(), env: Vec::new(), terminal: None };
        within(candidate.driver.exec(container, spec)).await.expect("a running container takes another process")
    };
    let mut exit = session(Script::Exit(7)).await;
    assert_eq!(rest(&mut exit).await, (String::new(), 7));

    let mut echo = session(Script::Echo).await;
    send(&echo, ExecInput::Stdin("hello\n".into())).await;
    assert_eq!(output(&mut echo, "hello\n".len()).await, "hello\n");
    send(&echo, ExecInput::Eof).await;
    assert_eq!(rest(&mut echo).await, (String::new(), 0));

    let mut killed = session(Script::Echo).await;
    send(&killed, ExecInput::Stdin("x".into())).await;
    assert_eq!(output(&mut killed, 1).await, "x");
    send(&killed, ExecInput::Signal(15)).await;
    assert_eq!(rest(&mut killed).await, (String::new(), 128 + 15));
    candidate.clear(container).await;
}

/// A terminal has the size it was given, and takes a new one.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn exec_with_a_terminal(candidate: &Candidate) {
    let container = candidate.start(&Script::Stay).await;
    let spec = ExecSpec { argv: Script::TerminalSize.argv(), env: Vec::new(), terminal: Some((81, 25)) };
    let mut session =
        within(candidate.driver.exec(container, spec)).await.expect("a running container takes another process");
    // Until the script has switched the echo off, keys come back too.
    send(&session, ExecInput::Stdin("\n".into())).await;
    until(&mut session, "25 81").await;
    send(&session, ExecInput::Resize(100, 40)).await;
    send(&session, ExecInput::Stdin("\n".into())).await;
    until(&mut session, "40 100").await;
    send(&session, ExecInput::Signal(9)).await;
    assert_eq!(rest(&mut session).await.1, 128 + 9);
    candidate.clear(container).await;
}

/// A program that is not there is told from one that may not be executed.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn exec_of_no_program_says_so(candidate: &Candidate) {
    let container = candidate.start(&Script::Stay).await;
    // A directory is nobody's to execute.
    for (program, is_missing) in [("no-such-program", true), ("/no/such/program", true), ("/", false)] {
        for terminal in [None, Some((80, 24))] {
            let spec = ExecSpec { argv: vec![program.to_owned()], env: Vec::new(), terminal };
            match within(candidate.driver.exec(container, spec)).await {
                Err(DriverError::NoProgram { missing, .. }) => assert_eq!(missing, is_missing, "{program}"),
                other => panic!("expected {program} to be no program, got {other:?}"),
            }
        }
    }
    candidate.clear(container).await;
}

async fn send(session: &ExecSession, input: ExecInput) {
    within(session.input.send(input)).await.expect("the session takes input");
}

/// Reads exactly so many bytes of standard output.
async fn output(session: &mut ExecSession, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        match within(session.output.recv()).await {
            Some(ExecOutput::Stdout(part)) => text += &String::from_utf8_lossy(&part),
            other => panic!("expected output after {text:?}, got {other:?}"),
        }
    }
    text
}

/// Reads output until it holds `wanted`.
async fn until(session: &mut ExecSession, wanted: &str) {
    let mut text = String::new();
    while !text.contains(wanted) {
        match within(session.output.recv()).await {
            Some(ExecOutput::Stdout(part)) => text += &String::from_utf8_lossy(&part),
            other => panic!("expected {wanted:?} after {text:?}, got {other:?}"),
        }
    }
}

/// Reads all that is left, and the status.
async fn rest(session: &mut ExecSession) -> (String, i32) {
    let mut text = String::new();
    loop {
        match within(session.output.recv()).await {
            Some(ExecOutput::Stdout(part) | ExecOutput::Stderr(part)) => {
                text += &String::from_utf8_lossy(&part);
            }
            Some(ExecOutput::Exited(status)) => return (text, status),
            None => panic!("the session ended without a status after {text:?}"),
        }
    }
}
