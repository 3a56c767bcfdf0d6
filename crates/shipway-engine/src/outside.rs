//! The way out of containers that have one (egress `internet`).
//!
//! Set up for the first container that needs it, so that a host where none does gets
//! no rule, link or setting. A container is connected while its sandbox waits at the
//! gate and disconnected by the sweeper; every half minute, and whenever somebody
//! changes the host's packet filter, what is there is compared with what should be.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shipway_egress::{Allow, Block, Config, Egress, EgressError, Finding, Living, Policy, Seen, Upstreams, Watch};
use shipway_shim::protocol::InlineFile;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::EngineError;
use crate::slots::Slot;
use crate::spec::EgressSpec;

/// How containers reach out, said by the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideConfig {
    /// IPv4 prefixes to take containers' addresses from; empty for the usual ones.
    pub pools: Vec<Block>,
    /// What they may reach besides the public internet (`network.allow`).
    pub allow: Vec<Allow>,
    /// Whether one tagged rule may be added to a foreign chain that would drop their
    /// packets (`network.accept_rule`).
    pub accept_rule: bool,
    /// Whom names are asked of: the host's own resolvers, unless told.
    pub upstreams: Upstreams,
}

impl Default for OutsideConfig {
    fn default() -> Self {
        let upstreams = Upstreams::File(PathBuf::from("/etc/resolv.conf"));
        Self { pools: Vec::new(), allow: Vec::new(), accept_rule: false, upstreams }
    }
}

/// A container that is to be connected.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) slot: Slot,
    /// A process in its network namespace.
    pub(crate) process: OwnedFd,
    pub(crate) egress: EgressSpec,
}

/// The way out, set up or not.
#[derive(Debug)]
pub(crate) struct Outside {
    config: OutsideConfig,
    instance: String,
    /// Where the host's settings are remembered; there as long as anything may be left.
    memory: PathBuf,
    open: Mutex<Option<Open>>,
    /// Told when it has just been set up: the host is to be looked at now.
    news: Arc<Notify>,
    told: Mutex<BTreeSet<String>>,
}

#[derive(Debug)]
struct Open {
    egress: Arc<Egress>,
    names: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.names.abort();
    }
}

impl Outside {
    pub(crate) fn new(config: OutsideConfig, instance: &str, memory: PathBuf) -> Self {
        let instance = instance.to_owned();
        Self { config, instance, memory, open: Mutex::new(None), news: Arc::default(), told: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been set up, if anything has.
    pub(crate) fn opened(&self) -> Option<Arc<Egress>> {
        self.lock().as_ref().map(|open| Arc::clone(&open.egress))
    }

    /// What tells that it has just been set up.
    pub(crate) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Whether an earlier engine may have left something.
    pub(crate) fn has_traces(&self) -> bool {
        self.memory.exists()
    }

    /// Sets it up unless it is. Blocks; must be called within a runtime.
    pub(crate) fn get(&self) -> Result<Arc<Egress>, EngineError> {
        let mut open = self.lock();
        if let Some(open) = &*open {
            return Ok(Arc::clone(&open.egress));
        }
        let config = Config {
            instance: self.instance.clone(),
            pools: self.config.pools.clone(),
            upstreams: self.config.upstreams.clone(),
            accept_rule: self.config.accept_rule,
            memory: self.memory.clone(),
        };
        let (egress, forwarder) = Egress::open(config).map_err(refused)?;
        let names = tokio::spawn(async move {
            if let Err(error) = forwarder.run().await {
                tracing::error!(%error, "containers cannot resolve names");
            }
        });
        let egress = Arc::new(egress);
        *open = Some(Open { egress: Arc::clone(&egress), names: names.abort_handle() });
        self.news.notify_one();
        Ok(egress)
    }

    /// What a container's `/etc/resolv.conf` says. Blocks.
    pub(crate) fn resolv_conf(&self) -> Result<InlineFile, EngineError> {
        let resolver = self.get()?.resolver();
        Ok(InlineFile { target: PathBuf::from("/etc/resolv.conf"), text: format!("nameserver {}\n", resolver.v4) })
    }

    fn policy(&self, egress: EgressSpec) -> Policy {
        let EgressSpec { bytes_per_second, connections } = egress;
        Policy { allow: self.config.allow.clone(), bytes_per_second, connections }
    }

    /// Connects a container whose sandbox waits. Blocks.
    pub(crate) fn attach(&self, member: &Member) -> Result<(), EngineError> {
        let attached = self.get()?.attach(member.slot.number(), member.process.as_fd(), &self.policy(member.egress));
        attached.map(drop).map_err(refused)
    }

    /// Disconnects whoever had this slot. Blocks.
    pub(crate) fn detach(&self, slot: Slot) {
        let Some(egress) = self.opened() else { return };
        if let Err(error) = egress.detach(slot.number()) {
            tracing::warn!(%error, "a container's link is left to the next round");
        }
    }

    /// What was counted for the container in this slot. Blocks.
    pub(crate) fn seen(&self, slot: Slot) -> Result<Option<Seen>, EngineError> {
        self.opened().map(|egress| egress.seen(slot.number()).map_err(refused)).transpose()
    }

    /// What of this host stands in the way, each with its remedy; nothing is looked at
    /// where no container has a way out. Blocks.
    pub(crate) fn obstacles(&self) -> Result<Vec<String>, EngineError> {
        let findings = self.opened().map(|egress| egress.findings().map_err(refused)).transpose()?;
        Ok(findings.unwrap_or_default().iter().map(told).collect())
    }

    /// Makes what is there what should be there for those who live. Blocks.
    pub(crate) fn reconcile(&self, members: &[Member]) -> Result<(), EngineError> {
        let egress = self.get()?;
        let policies: Vec<Policy> = members.iter().map(|member| self.policy(member.egress)).collect();
        let living: Vec<Living<'_>> = members
            .iter()
            .zip(&policies)
            .map(|(member, policy)| Living { slot: member.slot.number(), namespace: member.process.as_fd(), policy })
            .collect();
        let done = egress.reconcile(&living).map_err(refused)?;
        for (slot, error) in &done.failed {
            tracing::warn!(slot, %error, "a container's link cannot be put in order");
        }
        let count = (done.attached.len(), done.mended.len(), done.swept.len());
        if count != (0, 0, 0) {
            let (attached, mended, swept) = count;
            tracing::info!(attached, mended, swept, "put containers' links in order");
        }
        let now: BTreeSet<String> = done.findings.iter().map(told).collect();
        let mut before = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for finding in now.difference(&before) {
            tracing::warn!(finding, "containers may not reach the internet");
        }
        *before = now;
        Ok(())
    }

    /// Hears of changes to the host's packet filter, once it has been set up.
    pub(crate) fn watch(&self) -> Option<Watch> {
        let watch = self.opened()?.watch();
        watch.inspect_err(|error| tracing::warn!(%error, "changes of the firewall are not heard of")).ok()
    }

    /// Takes everything away again, also what an earlier engine left. Blocks.
    pub(crate) fn teardown(&self) -> Result<(), EngineError> {
        if self.opened().is_none() && !self.has_traces() {
            return Ok(());
        }
        self.get()?.teardown().map_err(refused)?;
        *self.lock() = None;
        Ok(())
    }
}

/// A finding in one line: what, and what to do.
fn told(finding: &Finding) -> String {
    format!("{}; {}", finding.what, finding.remedy.replace('\n', " ; "))
}

/// The engine's word for what the network would not do.
fn refused(error: EgressError) -> EngineError {
    let step = "network".to_owned();
    let detail = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    EngineError::Start { step, errno: 0, detail }
}
