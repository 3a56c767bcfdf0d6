//! Cgroups made ahead of their use.
//!
//! Making one costs a few hundred microseconds over all trees, which need not be
//! spent while somebody waits for a container. One is taken once and never given
//! back: counters and charged memory of one run would be seen by the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Cgroups;
use crate::EngineError;

/// Ready names, oldest first.
#[derive(Debug)]
pub(crate) struct Pool {
    ready: Mutex<VecDeque<String>>,
    wanted: AtomicUsize,
    prefix: String,
    next: AtomicU64,
}

impl Pool {
    /// Makes an empty pool that holds `wanted` at most. `prefix` differs from every
    /// earlier pool's of the same engine root, so that names never meet.
    pub(crate) fn new(wanted: usize, prefix: String) -> Self {
        Self { ready: Mutex::new(VecDeque::new()), wanted: wanted.into(), prefix, next: AtomicU64::new(0) }
    }

    /// Takes a ready cgroup, or makes one.
    pub(crate) fn take(&self, cgroups: &Cgroups) -> Result<String, EngineError> {
        let ready = self.lock().pop_front();
        ready.map_or_else(|| self.make(cgroups), Ok)
    }

    /// Makes cgroups until the pool is full.
    pub(crate) fn refill(&self, cgroups: &Cgroups) -> Result<(), EngineError> {
        while self.lock().len() < self.wanted.load(Ordering::Relaxed) {
            let name = self.make(cgroups)?;
            self.lock().push_back(name);
        }
        Ok(())
    }

    /// Makes no more ahead.
    pub(crate) fn close(&self) {
        self.wanted.store(0, Ordering::Relaxed);
    }

    /// Takes all that are ready, to remove them.
    pub(crate) fn drain(&self) -> Vec<String> {
        self.lock().drain(..).collect()
    }

    fn make(&self, cgroups: &Cgroups) -> Result<String, EngineError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", self.prefix);
        cgroups.make(&name)?;
        Ok(name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
