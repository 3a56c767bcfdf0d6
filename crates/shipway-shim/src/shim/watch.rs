//! What one round of poll(2) waits for, and which part each descriptor belongs to.

use alloc::vec::Vec;
use core::time::Duration;

use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::{status, sys};

/// Which part a descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The container's first process.
    Init,
    /// One of its output streams.
    Stream(usize),
    /// `ctl.sock`.
    Control,
    /// One connection to it.
    Connection(u64),
    /// A process started by exec, or its way there.
    Execution(u64),
    /// `dial.sock`.
    Dial,
    /// One dial under way: its asker, or the connection being made.
    Dialling(u64),
}

/// Descriptors and their places.
#[derive(Debug)]
pub(crate) struct Watch {
    watched: Vec<sys::Watched>,
    places: Vec<Place>,
}

impl Watch {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { watched: Vec::new(), places: Vec::new() }
    }

    /// Adds a descriptor; hang-ups and errors are always waited for.
    pub(crate) fn add(&mut self, place: Place, descriptor: impl AsFd, events: i16) {
        self.watched.push(sys::watched(descriptor, events));
        self.places.push(place);
    }

    /// Waits for any of them, or for `deadline` on the clock of [`status::now`].
    pub(crate) fn wait(&mut self, deadline: Option<Duration>) -> Result<(), Errno> {
        let timeout = deadline.map_or(-1, |deadline| {
            let left = deadline.saturating_sub(status::now()).as_millis();
            // One more, so that a wake-up finds the deadline passed.
            i32::try_from(left).map_or(i32::MAX, |left| left.saturating_add(1))
        });
        sys::poll(&mut self.watched, timeout)
    }

    /// Where something happened. Those who hang up come before those who want their
    /// place, and the container's end comes last, so that a last word is heard before it.
    pub(crate) fn ready(self) -> impl Iterator<Item = Place> {
        let both = self.watched.into_iter().zip(self.places);
        let happened = both.filter(|(watched, _)| watched.revents != 0);
        let mut ready: Vec<Place> = happened.map(|(_, place)| place).collect();
        ready.sort_by_key(|place| match place {
            Place::Control | Place::Dial => 1,
            Place::Init => 2,
            _ => 0,
        });
        ready.into_iter()
    }
}
