//! The settings of the role `worker`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use shipway_preempt::Provider;
use shipway_store::LeaseTerms;

use super::ConfigError;
use super::values::Field;

/// Characters of a label at most, and labels.
const LABEL_CHARS_MAX: usize = 63;
const LABELS_MAX: usize = 32;

/// How this process works on tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerSettings {
    pub(crate) concurrency: usize,
    pub(crate) lease: LeaseTerms,
    /// Tasks of one project at work at once.
    pub(crate) project_max: Option<u32>,
    pub(crate) labels: BTreeSet<String>,
    /// How long tasks may take to their end once the worker is told to stop.
    pub(crate) drain: Duration,
    /// Where it answers for what flows.
    pub(crate) listen: SocketAddr,
    /// As other machines reach that; `None` is what is listened on.
    pub(crate) address: Option<String>,
    pub(crate) preemption: Option<PreemptionSettings>,
}

/// Who says that this machine will be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreemptionSettings {
    pub(crate) provider: Provider,
    pub(crate) poll_interval: Duration,
    /// Where the cloud is asked, if not where its own machines ask.
    pub(crate) address: Option<String>,
}

/// Reads them; `field` finds a setting by its key.
pub(super) fn parse<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<WorkerSettings, ConfigError> {
    let seconds = |key: &'static str, least, most| Ok(Duration::from_secs(field(key).number(least, most)?));
    let listen: SocketAddr = field("worker.listen").parsed("an address such as 10.0.0.7:7070 is expected")?;
    let address = field("worker.address").text_if_any().map(str::to_owned);
    if listen.ip().is_unspecified() && address.is_none() {
        let reason = "`worker.listen` is every address of this machine: say in `worker.address` at which of them \
                      (address:port) the api machines reach it";
        return Err(ConfigError::Together(reason.to_owned()));
    }
    Ok(WorkerSettings {
        concurrency: field("worker.concurrency").number(1, 256)?,
        lease: LeaseTerms {
            heartbeat: seconds("worker.lease_seconds", 1, 3600)?,
            deadline: seconds("worker.deadline_seconds", 10, 7 * 24 * 3600)?,
        },
        project_max: Some(field("worker.project_max").number(0, 10_000)?).filter(|most| *most > 0),
        labels: labels(&field("worker.labels"))?,
        drain: seconds("worker.stop_timeout", 0, 24 * 3600)?,
        listen,
        address,
        preemption: preemption(field)?,
    })
}

fn preemption<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<Option<PreemptionSettings>, ConfigError> {
    let settings = PreemptionSettings {
        provider: field("worker.preemption.provider")
            .parsed("one of signal (or sigusr1), azure, aws, gcp is expected")?,
        poll_interval: Duration::from_secs(field("worker.preemption.poll_interval").number(1, 3600)?),
        address: field("worker.preemption.address").text_if_any().map(str::to_owned),
    };
    let is_enabled = field("worker.preemption.enabled").word(&[("true", true), ("false", false)])?;
    Ok(is_enabled.then_some(settings))
}

fn labels(field: &Field<'_>) -> Result<BTreeSet<String>, ConfigError> {
    let plain = |label: &&str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte);
        label.len() <= LABEL_CHARS_MAX && label.bytes().all(known)
    };
    let labels: BTreeSet<&str> = field.words().collect();
    if labels.len() <= LABELS_MAX && labels.iter().all(plain) {
        Ok(labels.into_iter().map(str::to_owned).collect())
    } else {
        Err(field.bad("words of letters, digits and -_./:= are expected, comma-separated, such as arm64,region=north"))
    }
}
