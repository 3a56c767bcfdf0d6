//! The bounds of everything, in one place.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Longest a connection may wait for its next request. Longer than the proxy
/// keeps an idle one (90 s), so that it is the proxy that closes and a request
/// never meets a connection that is just going away.
pub const IDLE: Duration = Duration::from_secs(120);

/// Longest a head may take to arrive once it has begun.
pub const HEAD: Duration = Duration::from_secs(10);

/// Longest a client may take nothing of an answer that is ready.
pub const STALL: Duration = Duration::from_secs(60);

/// Longest a request waits for a script's seat, unless its time limit is shorter.
pub const QUEUE: Duration = Duration::from_secs(10);

/// Most requests that wait for a seat, per seat.
pub const QUEUE_PER_SEAT: usize = 4;

/// After an answer that did not want the whole body, how long the rest of it is
/// read and dropped: a client that is still sending would otherwise be reset and
/// never see its answer.
pub const LINGER: Duration = Duration::from_secs(2);

/// How much of such a body is read and dropped.
pub const LINGER_BYTES: usize = 1 << 20;

/// How long stopping may take beyond one script's time limit.
pub const DRAIN_EXTRA: Duration = Duration::from_secs(5);

/// How long until something that was impossible is tried again.
pub const RETRY: Duration = Duration::from_millis(10);

/// How long orphans may live while other requests run: they are looked for
/// together, because looking reads `/proc`.
pub const SWEEP: Duration = Duration::from_millis(5);

/// Output held back until a script has exited, so that its failure can still be
/// told; beyond, it streams. Part of the outside contract.
pub const HELD_BYTES: usize = 64 * 1024;

/// Output that waits for a slow client; a script that prints more is not read.
pub const OUTPUT_BYTES: usize = 64 * 1024;

/// Input that waits for a slow script; a client that sends more is not read.
pub const INPUT_BYTES: usize = 64 * 1024;

/// Most local redirects (RFC 3875 §6.2.2) one request may go through.
pub const REDIRECTS_MAX: u32 = 5;

/// Descriptors needed beside those of connections and scripts: three standard
/// ones, listener, signals, epoll, and a few files for moments.
const OWN_DESCRIPTORS: usize = 12;

/// Descriptors of one running script: its three pipes.
const SCRIPT_DESCRIPTORS: usize = 3;

/// How the descriptors this process may open are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Scripts at work at once; at most what was asked for.
    pub scripts: usize,
    /// Connections at once; always more than scripts, so that there is somebody
    /// left to be told to come back later.
    pub connections: usize,
}

impl Budget {
    /// Shares out `RLIMIT_NOFILE`.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 16);
        Self::of(usize::try_from(limit).unwrap_or(1 << 16), concurrency)
    }

    fn of(descriptors: usize, concurrency: usize) -> Self {
        let free = descriptors.saturating_sub(OWN_DESCRIPTORS).max(5);
        // A running script has its connection too, and one more may wait.
        let scripts = concurrency.min(free / (SCRIPT_DESCRIPTORS + 2)).max(1);
        let connections = (free - scripts * SCRIPT_DESCRIPTORS).min(scripts + 1024);
        Self { scripts, connections }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_always_suffice_and_somebody_can_always_wait() {
        for descriptors in [17, 32, 64, 1024, 1 << 20] {
            for concurrency in [1, 4, 32, 4096] {
                let Budget { scripts, connections } = Budget::of(descriptors, concurrency);
                let used = OWN_DESCRIPTORS + connections + scripts * SCRIPT_DESCRIPTORS;
                assert!(used <= descriptors, "{descriptors} {concurrency}");
                assert!(scripts >= 1 && connections > scripts);
            }
        }
        assert_eq!(Budget::of(1024, 32).scripts, 32);
    }
}
