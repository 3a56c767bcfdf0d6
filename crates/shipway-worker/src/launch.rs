//! A container of a release, from its row to ready.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use shipway_driver::{Driver, DriverError, Ingress, LogQuery, Program, Workload};
use shipway_model::{ContainerId, Instance, InstanceRole, Release, ReleaseProgram};
use tokio::time::timeout;

use crate::core::Core;
use crate::job::Job;
use crate::probe::{self, NotReady, Subject};
use crate::trouble::Trouble;

/// Enough to see why a program died, few enough for an answer to a PUT.
const TAIL_LINES: usize = 20;
const TAIL_LINE_CHARS: usize = 500;

/// A log that cannot be read in this time is left out.
const TAIL_WAIT: Duration = Duration::from_secs(2);

/// How a launch came out. Either way the container and its row are there, as a candidate.
#[derive(Debug)]
pub(crate) enum Launch {
    /// It answers.
    Ready(Instance),
    /// It will not.
    NotReady {
        instance: Instance,
        /// What the probe saw, in words.
        saw: String,
        log_tail: Vec<String>,
    },
}

impl Job {
    /// Starts a container of `release` and waits until it is ready.
    pub(crate) async fn launch(&self, release: &Release, failures: u32) -> Result<Launch, Trouble> {
        let (core, project) = (&self.core, &self.lease.task.project);
        core.bring_root(&release.spec.root).await?;
        let mut instance = Instance {
            container: Core::fresh_container(),
            service: release.service,
            release: release.number,
            role: InstanceRole::Candidate,
            endpoint: None,
            failures,
            started_at: None,
            handle: None,
        };
        core.store.put_instance(&self.lease, &instance).await?;
        self.note_started(instance.container);
        let workload = workload(release, instance.container, project.as_str());
        let content = release.spec.source().map(|source| core.blobs.path(&source.digest));
        let started = match core.driver.start(&workload, content.as_deref()).await {
            Ok(started) => started,
            Err(error @ (DriverError::Invalid(_) | DriverError::NoProgram { .. })) => {
                instance.started_at = Some(core.now());
                return self.not_ready(instance, NotReady(error.to_string())).await;
            }
            Err(error) => return Err(error.into()),
        };
        instance.started_at = Some(started.started_at);
        let Some(endpoint) = started.endpoint else {
            let saw = NotReady("the engine gave it no address".to_owned());
            return self.not_ready(instance, saw).await;
        };
        let endpoint = endpoint.speaking(release.spec.protocol());
        instance.endpoint = Some(endpoint.clone());
        let subject = Subject {
            service: release.service,
            container: instance.container,
            endpoint: &endpoint,
            health: &release.spec.health,
        };
        // The row is written while the runner starts: a deploy is as fast as the slower one.
        let (written, ready) = tokio::join!(
            core.store.put_instance(&self.lease, &instance),
            probe::until_ready(core.driver.as_ref(), &subject),
        );
        written?;
        match ready {
            Ok(()) => Ok(Launch::Ready(instance)),
            Err(saw) => self.not_ready(instance, saw).await,
        }
    }

    async fn not_ready(&self, instance: Instance, saw: NotReady) -> Result<Launch, Trouble> {
        let log_tail = log_tail(self.core.driver.as_ref(), instance.container).await;
        let NotReady(saw) = saw;
        Ok(Launch::NotReady { instance, saw, log_tail })
    }
}

fn workload(release: &Release, container: ContainerId, project: &str) -> Workload {
    let spec = &release.spec;
    let (program, ingress) = program(&spec.program);
    Workload {
        container,
        root: spec.root.clone(),
        program,
        env: spec.env.clone(),
        limits: spec.limits.clone(),
        ingress,
        egress: spec.egress,
        labels: BTreeMap::from([
            ("project".to_owned(), project.to_owned()),
            ("service".to_owned(), release.service.to_string()),
            ("release".to_owned(), release.number.to_string()),
        ]),
    }
}

fn program(program: &ReleaseProgram) -> (Program, Ingress) {
    match program {
        ReleaseProgram::Content { source, kind, runner } => {
            let program = Program::Runner {
                runner: *runner,
                kind: *kind,
                digest: source.digest.clone(),
                content_type: source.content_type.clone(),
                file_name: source.file_name.clone(),
            };
            (program, Ingress::Listener)
        }
        ReleaseProgram::Command { command, port, .. } => {
            (Program::Command { argv: command.clone() }, Ingress::Port { port: *port })
        }
    }
}

/// Returns the last lines of a container's log, as far as they can be had.
pub(crate) async fn log_tail(driver: &dyn Driver, container: ContainerId) -> Vec<String> {
    let query = LogQuery { tail: Some(TAIL_LINES), ..LogQuery::default() };
    let read = async {
        let Ok(lines) = driver.logs(container, query).await else {
            return Vec::new();
        };
        lines
            .take(TAIL_LINES)
            .filter_map(async |line| line.ok())
            .map(|line| line.text.chars().take(TAIL_LINE_CHARS).collect())
            .collect()
            .await
    };
    timeout(TAIL_WAIT, read).await.unwrap_or_default()
}
