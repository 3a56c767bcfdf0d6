//! Who may ask, how much at a time, and what came of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;

use crate::addresses::Addresses;
use crate::policy::Policy;

/// Questions of one container that wait for an answer.
pub(crate) const QUESTIONS_MAX: usize = 64;
/// Connections of one container.
pub(crate) const CONNECTIONS_MAX: usize = 8;
/// Questions of all containers that wait for an answer: each holds a socket.
pub(crate) const QUESTIONS_MAX_ALL: usize = 512;

/// What the forwarder counted for one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct NameCounters {
    /// Questions taken up.
    pub asked: u64,
    /// Answers from which an address was withheld, and questions refused.
    pub refused: u64,
    /// Questions beyond what may wait at a time.
    pub dropped: u64,
    /// Questions to which no resolver gave a usable answer.
    pub failed: u64,
}

/// Everybody who may ask, by address.
#[derive(Debug)]
pub(crate) struct Members {
    by_address: RwLock<HashMap<IpAddr, Arc<Member>>>,
    pub(super) questions: Arc<Semaphore>,
}

/// One container, as the forwarder sees it.
#[derive(Debug)]
pub(crate) struct Member {
    policy: RwLock<Arc<Policy>>,
    pub(super) questions: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) asked: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Members {
    pub(crate) fn new() -> Self {
        Self { by_address: RwLock::default(), questions: Arc::new(Semaphore::new(QUESTIONS_MAX_ALL)) }
    }

    /// Lets a container ask, or changes what it may be told.
    pub(crate) fn put(&self, who: Addresses, policy: &Policy) {
        let mut all = self.by_address.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = all.get(&IpAddr::from(who.v4)) {
            *member.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy.clone());
            return;
        }
        let member = Arc::new(Member::new(policy));
        all.insert(who.v4.into(), Arc::clone(&member));
        all.insert(who.v6.into(), member);
    }

    /// Hears it no more.
    pub(crate) fn remove(&self, who: Addresses) {
        let mut all = self.by_address.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&IpAddr::from(who.v4));
        all.remove(&IpAddr::from(who.v6));
    }

    pub(crate) fn find(&self, who: IpAddr) -> Option<Arc<Member>> {
        self.by_address.read().unwrap_or_else(PoisonError::into_inner).get(&who).cloned()
    }

    pub(crate) fn counters(&self, who: Addresses) -> NameCounters {
        self.find(who.v4.into()).map(|member| member.counters()).unwrap_or_default()
    }
}

impl Member {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            policy: RwLock::new(Arc::new(policy.clone())),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            asked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn counters(&self) -> NameCounters {
        NameCounters {
            asked: self.asked.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
