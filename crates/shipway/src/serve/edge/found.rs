//! The proxies that are already there when `serve` starts, and what becomes of them.
//!
//! A proxy outlives the `serve` that started it. The next one keeps it when it is
//! this very program with the same settings and listeners; else another is started
//! on the same sockets, and this one finishes what it has. [`judge`] decides, and
//! knows nothing of processes.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use shipway_proxy::wire::CONTROL_SOCKET;
use shipway_proxy::{Listener, Peer, Settings};
use shipway_stdx::shutdown::Shutdown;

use super::fleet::Connection;
use crate::config::{ListenerConfig, Serves};
use crate::platform::Places;
use crate::program::identity;

/// How long a living proxy may take to answer before it counts as none of ours.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// A proxy that lives, and what it still listens on.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) connection: Connection,
    pub(crate) peer: Peer,
    /// None once it has been told to finish.
    pub(crate) listeners: Vec<Listener>,
    is_newest: bool,
}

/// Finds every proxy that lives, the newest first, and removes what
/// dead ones left.
pub(crate) async fn find(places: &Places, shutdown: &Shutdown) -> anyhow::Result<Vec<Found>> {
    let newest = identity(&places.run_dir.join(CONTROL_SOCKET));
    let mut found = Vec::new();
    for path in places.proxy_sockets().context("cannot read the run directory")? {
        // Asked before a feed connects: the proxy talks to whoever came last.
        if std::os::unix::net::UnixStream::connect(&path).is_err() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            continue;
        }
        let is_newest = newest.is_some() && identity(&path) == newest;
        let connection = Connection::open(path, &places.instance, shutdown);
        found.push(ask(connection, is_newest).await?);
    }
    found.sort_by_key(|found| (found.listeners.is_empty(), !found.is_newest));
    Ok(found)
}

async fn ask(connection: Connection, is_newest: bool) -> anyhow::Result<Found> {
    let at = connection.socket().display();
    let feed = &connection.feed;
    let peer = feed
        .connected(ANSWER_LIMIT)
        .await
        .with_context(|| format!("a proxy lives at {at} and does not talk to this Shipway; end it first"))?;
    let listeners = feed.listeners().await.with_context(|| format!("cannot ask the living proxy at {at}"))?;
    Ok(Found { connection, peer, listeners, is_newest })
}

/// What becomes of the newest living proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Keep,
    /// Another takes over, because of this.
    Replace(&'static str),
}

/// Judges a living proxy by what is wanted now.
pub(crate) fn judge(
    same_program: bool,
    told: Option<&Settings>,
    wanted: &Settings,
    listens: &[(SocketAddr, Serves)],
    shall_listen: &[ListenerConfig],
) -> Verdict {
    let same = |(listener, wanted): (&(SocketAddr, Serves), &ListenerConfig)| {
        is_wanted(listener.0, wanted.address) && listener.1 == wanted.serves
    };
    if !same_program {
        Verdict::Replace("it is another version")
    } else if told != Some(wanted) {
        Verdict::Replace("its settings have changed")
    } else if listens.len() != shall_listen.len() || !listens.iter().zip(shall_listen).all(same) {
        Verdict::Replace("it listens elsewhere")
    } else {
        Verdict::Keep
    }
}

/// Whether a socket at `address` will do for `wanted`, whose port may be 0 for any.
pub(crate) fn is_wanted(address: SocketAddr, wanted: SocketAddr) -> bool {
    wanted.ip() == address.ip() && (wanted.port() == 0 || wanted.port() == address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            run_dir: "/run/s".into(),
            snapshot_dir: "/run/s/routes".into(),
            user: None,
            host_suffixes: vec!["localhost".to_owned()],
            api_hosts: Vec::new(),
            instance: "i".to_owned(),
            threads: 0,
            routes_wait: Duration::ZERO,
            fast_path: true,
            limits: shipway_proxy::Limits::default(),
        }
    }

    fn check(same_program: bool, told: Option<&Settings>, port: u16) -> Verdict {
        let listens = [("127.0.0.1:8080".parse().unwrap(), Serves::Both)];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let wanted = [ListenerConfig { address, serves: Serves::Both }];
        judge(same_program, told, &settings(), &listens, &wanted)
    }

    #[test]
    fn the_same_is_kept() {
        assert_eq!(check(true, Some(&settings()), 8080), Verdict::Keep);
        assert_eq!(check(true, Some(&settings()), 0), Verdict::Keep, "any port is wanted");
    }

    #[test]
    fn whatever_differs_is_replaced() {
        assert_ne!(check(false, Some(&settings()), 8080), Verdict::Keep);
        assert_ne!(check(true, None, 8080), Verdict::Keep, "an old one does not say what it was told");
        assert_ne!(check(true, Some(&settings()), 8081), Verdict::Keep);
        let mut other = settings();
        other.limits.connections += 1;
        assert_ne!(check(true, Some(&other), 8080), Verdict::Keep);
    }
}
