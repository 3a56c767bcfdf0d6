//! The container's output on its way into the log.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};

use crate::failure::MayFail as _;
use crate::log::{Lines, Log, Name};
use crate::shim::watch::{Place, Watch};
use crate::start::{Output, Running};

/// Read at once from a stream; a flood is taken in turns with everything else.
const CHUNK_BYTES: usize = 32 * 1024;

/// Most bytes still taken after the container's end: a full pipe of each stream is
/// 64 KiB, and nobody inside is left to fill it again.
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The output streams and the log they go to.
#[derive(Debug)]
pub(super) struct Streams {
    log: Log,
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// `None` once it has ended.
    from: Option<OwnedFd>,
    lines: Lines,
}

impl Streams {
    /// Takes over a container's output.
    pub(super) fn new(running: &mut Running) -> Self {
        let stream = |from, name| Stream { from: Some(from), lines: Lines::new(name) };
        let streams = match mem::replace(&mut running.output, Output::Taken) {
            Output::Pipes { output, errors } => {
                vec![stream(output, Name::Output), stream(errors, Name::Errors)]
            }
            Output::Terminal(master) => {
                // A terminal that refuses this would only be read less smoothly.
                rustix::io::ioctl_fionbio(&master, true).may_fail();
                vec![stream(master, Name::Output)]
            }
            Output::Taken => Vec::new(),
        };
        Self { log: Log::new(running.places.take_log(), running.launch.log), streams }
    }

    pub(super) fn watch(&self, watch: &mut Watch) {
        for (which, stream) in self.streams.iter().enumerate() {
            if let Some(from) = &stream.from {
                watch.add(Place::Stream(which), from, libc::POLLIN);
            }
        }
    }

    /// Reads what is there, once.
    pub(super) fn read(&mut self, which: usize) {
        if let Some(stream) = self.streams.get_mut(which) {
            read_once(stream, &mut self.log);
        }
    }

    /// Reads what is left when the container has ended.
    pub(super) fn drain(&mut self) {
        for stream in &mut self.streams {
            let mut taken = 0;
            while taken < DRAIN_BYTES_MAX {
                match read_once(stream, &mut self.log) {
                    0 => break,
                    count => taken += count,
                }
            }
            self.log.finish(&mut stream.lines);
        }
    }
}

/// Reads once and returns how much; a stream that has ended is closed.
fn read_once(stream: &mut Stream, log: &mut Log) -> usize {
    let Some(from) = &stream.from else { return 0 };
    // Not kept: an idle container's shim should hold no buffer.
    let mut chunk = vec![0; CHUNK_BYTES];
    match read(from, &mut chunk) {
        Ok(count) if count > 0 => {
            log.append(&mut stream.lines, chunk.get(..count).unwrap_or_default());
            count
        }
        Err(Errno::AGAIN | Errno::INTR) => 0,
        // The end of a pipe, or of a terminal (EIO).
        Ok(_) | Err(_) => {
            log.finish(&mut stream.lines);
            stream.from = None;
            0
        }
    }
}
