//! An answer that has begun before its end is known.

use std::time::SystemTime;

use super::failure::Failure;
use crate::cgi::header::Block;
use crate::http::answer::Answer;
use crate::server::connection::Connection;
use crate::server::output::Output;

/// How a streamed body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// In chunks.
    Chunked,
    /// The script said how long it is; so many bytes are missing.
    Length(u64),
    /// HTTP/1.0: the end of the connection is its end.
    UntilClose,
    /// It is not sent: HEAD, or a status that has none.
    Dropped,
}

impl Stream {
    /// Queues the head of an answer.
    ///
    /// # Errors
    ///
    /// [`Failure::RedirectBody`]: the block says that this output is not the answer.
    pub fn begin(connection: &mut Connection, block: &Block) -> Result<Self, Failure> {
        if block.local_redirect.is_some() {
            return Err(Failure::RedirectBody);
        }
        let (is_http11, is_head) =
            connection.head.as_ref().map_or((true, false), |head| (head.is_http11, head.method == "HEAD"));
        let mut answer = begin_answer(block);
        let framing = match block.length {
            _ if !block.has_body() => Self::Dropped,
            Some(length) => {
                answer = answer.header("Content-Length", length.to_string());
                Self::Length(length)
            }
            None if is_http11 => {
                answer = answer.header("Transfer-Encoding", "chunked");
                Self::Chunked
            }
            None => {
                connection.keep_alive = false;
                Self::UntilClose
            }
        };
        let head = answer.connection(connection.keep_alive, is_http11).finish(SystemTime::now());
        connection.output.push(&head);
        Ok(if is_head { Self::Dropped } else { framing })
    }

    /// Queues more of the body.
    ///
    /// # Errors
    ///
    /// [`Failure::Length`]: it is longer than the script said.
    pub fn push(&mut self, output: &mut Output, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Dropped => {}
            Self::UntilClose => output.push(bytes),
            // An empty chunk would be the end.
            Self::Chunked if bytes.is_empty() => {}
            Self::Chunked => {
                output.push(format!("{:x}\r\n", bytes.len()).as_bytes());
                output.push(bytes);
                output.push(b"\r\n");
            }
            Self::Length(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(Failure::Length)?;
                output.push(bytes);
            }
        }
        Ok(())
    }

    /// Queues the end of the body.
    ///
    /// # Errors
    ///
    /// [`Failure::Length`]: it is shorter than the script said.
    pub fn end(&mut self, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Length(left) if *left > 0 => return Err(Failure::Length),
            Self::Chunked => output.push(b"0\r\n\r\n"),
            _ => {}
        }
        Ok(())
    }
}

/// Begins the head of a script's answer: everything but its framing.
#[must_use]
pub fn begin_answer(block: &Block) -> Answer {
    block
        .headers
        .iter()
        .fold(Answer::new(block.status, &block.reason), |answer, (name, value)| answer.header(name, value))
}
