//! How a script's process is started.
//!
//! One seam for what is to come: a fork server started before `main`, or an
//! interpreter that forks itself, would be further variants of [`Strategy`].
//! Whatever starts it, the caller gets a process that leads a session of its own,
//! reads its request from the first descriptor and writes to the other two.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::process::Pid;

use crate::cgi::program::Program;
use crate::sys;

/// A way to start a script's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// `execve` of a fresh process for every request, with vfork's semantics: the
    /// parent's memory is not copied, which is worth 0.2 ms even in a small parent.
    Exec,
}

/// What one request's process gets.
#[derive(Debug)]
pub struct Order<'a> {
    /// What is executed.
    pub program: &'a Program,
    /// `NAME=value`, all of it.
    pub environment: &'a [CString],
    /// Where it starts: the script's own folder (RFC 3875 §7.2).
    pub folder: &'a CString,
    /// Its stdin, stdout and stderr.
    pub stdio: [BorrowedFd<'a>; 3],
}

impl Strategy {
    /// Starts a process.
    ///
    /// # Errors
    ///
    /// `EAGAIN` or `ENOMEM` when the container is at a limit; otherwise what
    /// `execve` found wrong with the program.
    pub fn start(self, order: &Order<'_>) -> io::Result<Pid> {
        match self {
            Self::Exec => {
                sys::spawn(&order.program.path, &order.program.arguments, order.environment, order.folder, order.stdio)
            }
        }
    }
}
