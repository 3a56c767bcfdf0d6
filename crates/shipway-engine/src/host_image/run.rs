//! A program of the host's, run to its end within a time.
//!
//! An argument list, an empty environment, no input, output into memory, a process
//! group of its own that is ended as a whole when it takes too long.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when it took too long.
    pub(crate) status: Option<ExitStatus>,
    output: File,
}

impl Ended {
    /// The end of what it wrote.
    pub(crate) fn tail(&mut self, bytes_max: u64) -> String {
        let length = self.output.metadata().map_or(0, |found| found.len());
        self.output_from(length.saturating_sub(bytes_max), bytes_max)
    }

    fn output_from(&mut self, start: u64, bytes_max: u64) -> String {
        let mut bytes = Vec::new();
        // It is memory of ours; should reading it fail, there is nothing to say.
        let read = self.output.seek(SeekFrom::Start(start));
        drop(read.and_then(|_| (&self.output).take(bytes_max).read_to_end(&mut bytes)));
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Runs `command`; both its outputs are kept.
pub(crate) fn run(mut command: Command, longest: Duration) -> io::Result<Ended> {
    let output = rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC)?;
    let output = File::from(output);
    command.env_clear().envs([
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LC_ALL", "C.UTF-8"),
        // Python's, so that the same modules compile to the same bytes.
        ("PYTHONHASHSEED", "0"),
    ]);
    command.current_dir("/").process_group(0).stdin(Stdio::null());
    command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    let mut child = command.spawn()?;
    let status = wait(&mut child, longest)?;
    Ok(Ended { status, output })
}

/// Waits for the child; one that takes too long is killed with its group.
fn wait(child: &mut Child, longest: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let timeout = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: longest.subsec_nanos().into(),
    };
    let ended_in_time = || {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut polled, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                ready => return ready.map(|ready| ready == 1),
            }
        }
    };
    let is_over = ended_in_time();
    if is_over != Ok(true) {
        // Gone in this very moment is as good.
        kill_process_group(pid, Signal::KILL).ok();
    }
    let status = child.wait()?;
    Ok(is_over?.then_some(status))
}
