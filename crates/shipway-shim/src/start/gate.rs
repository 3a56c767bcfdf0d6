//! The gate: a finished sandbox waits here for the engine's word to run.
//!
//! Everything is made and given up by then, but for the filter and the program, so that
//! what is left of a start is some 0.5 ms. Nothing is recorded: an engine that dies hangs
//! up, and then nothing of the sandbox remains.

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use shipway_shim::protocol::{Gate, Launched, Run};

use crate::failure::{Failure, Step as _};
use crate::packet::{receive, send_json};
use crate::{status, sys};

const STEP: &str = "wait at the gate";

/// Tells the engine that the sandbox waits, and waits; anything but the word to run is
/// a failure, which takes the sandbox away.
pub(super) fn wait(reply: &OwnedFd, child: &OwnedFd, run: &Run, patience: Duration) -> Result<(), Failure> {
    let prepared = Launched::Prepared { shim: run.shim, init: run.init };
    send_json(reply, &prepared, &[]).step(STEP)?;
    let deadline = status::now().saturating_add(patience);
    loop {
        let left = deadline.saturating_sub(status::now());
        let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
        let mut watched = [sys::watched(reply, libc::POLLIN), sys::watched(child, libc::POLLIN)];
        sys::poll(&mut watched, left_ms).step(STEP)?;
        // It has said all it had to: this is its end.
        if matches!(watched, [_, child] if child.revents != 0) {
            return Err(Failure::refused(STEP, "the child was killed while it waited"));
        }
        match receive(reply, RecvFlags::DONTWAIT) {
            Ok(Some(packet)) => return read(packet.bytes.as_deref().unwrap_or_default()),
            Ok(None) => return Err(Failure::refused(STEP, "the engine hung up")),
            Err(Errno::AGAIN) if left.is_zero() => return Err(Errno::TIMEDOUT).step(STEP),
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno).step(STEP),
        }
    }
}

fn read(word: &[u8]) -> Result<(), Failure> {
    match serde_json::from_slice(word) {
        Ok(Gate::Open) => Ok(()),
        Err(error) => Err(Failure::refused(STEP, alloc::format!("not a word to run: {error}"))),
    }
}
