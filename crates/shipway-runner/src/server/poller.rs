//! `epoll`, with the few calls the loop makes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// One `epoll` instance.
#[derive(Debug)]
pub struct Poller(OwnedFd);

impl Poller {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// Any error of `epoll_create1`.
    pub fn open() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Begins to watch a descriptor.
    ///
    /// # Errors
    ///
    /// Any error of `epoll_ctl`.
    pub fn add(&self, source: impl AsFd, flags: EventFlags, data: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, source, EventData::new_u64(data), flags)?)
    }

    /// Changes what a descriptor is watched for.
    ///
    /// # Errors
    ///
    /// Any error of `epoll_ctl`.
    pub fn modify(&self, source: impl AsFd, flags: EventFlags, data: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.0, source, EventData::new_u64(data), flags)?)
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    ///
    /// Any error of `epoll_ctl`.
    pub fn delete(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, source)?)
    }

    /// Waits for events, or until `until`; an interrupted wait is an empty one.
    ///
    /// # Errors
    ///
    /// Any other error of `epoll_wait`.
    pub fn wait(&self, events: &mut Vec<Event>, now: Instant, until: Option<Instant>) -> io::Result<()> {
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(now.max(Instant::now()));
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        match epoll::wait(&self.0, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
