//! What can be set about a worker.

use std::time::Duration;

use shipway_model::StreamDoor;
use shipway_plan::Policy;
use shipway_stdx::backoff::Backoff;
use shipway_store::{Claimant, LeaseTerms};

/// Configures a worker for life.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name, in leases and logs, and which tasks are for it.
    pub claimant: Claimant,
    /// The machine it runs on, for people.
    pub host: String,
    /// Its version, for people.
    pub version: String,
    /// Where it is asked for what flows, if it is.
    pub streams: Option<StreamDoor>,
    /// Tasks at work at once, each of another service.
    pub concurrency: usize,
    /// How long leases last. The heartbeat decides how soon a dead worker's task
    /// is taken over, the deadline how long one task may take at most.
    pub lease: LeaseTerms,
    /// A task that could not be done this often ends with its last failure.
    pub attempts_max: u32,
    /// The wait before trying a task again, by attempts.
    pub retry: Backoff,
    /// How long tasks may take to their end when the worker is told to finish; what is left
    /// then is given back.
    pub drain: Duration,
    /// How restarts of dying services are spaced.
    pub policy: Policy,
    /// Between asking a container to end and killing it.
    pub stop_grace: Duration,
    /// What the visitors of a service get to finish when it is told to stop.
    /// A redeploy gives them as long as [`Drain::idle`](crate::Drain::idle) takes.
    pub stop_drain: Duration,
    /// How often everything is compared, for deaths that nobody noticed.
    pub reconcile_every: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            claimant: Claimant::named("worker"),
            host: String::new(),
            version: String::new(),
            streams: None,
            concurrency: 8,
            // A dead worker's task is claimable again within 30 s;
            // beats come three times as often as they must.
            lease: LeaseTerms { heartbeat: Duration::from_secs(20), deadline: Duration::from_secs(15 * 60) },
            attempts_max: 5,
            retry: Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(10) },
            drain: Duration::from_secs(30),
            policy: Policy::default(),
            stop_grace: Duration::from_secs(10),
            stop_drain: Duration::from_secs(10),
            reconcile_every: Duration::from_secs(60),
        }
    }
}
