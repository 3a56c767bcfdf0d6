//! A part's API: a line of JSON asks, a line of JSON answers, on a unix socket.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use shipway_fetch::Blobs;
use shipway_gobuild::Spec;
use shipway_gobuild::spec::go_label;
use shipway_model::{BuildId, InstanceRole, ProjectName, ServiceId, ServiceName, Source, TaskId, TaskPayload};
use shipway_stdx::fs::remove_if_there;
use shipway_store::{BuildFilter, BuildRequest, Request, Store, Target};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::load::deploy_of;

/// Largest content; the tester's own is far smaller.
const CONTENT_BYTES_MAX: u64 = 1 << 20;

/// Builds at work that are told of; there are as many as workers.
const BUILDS_MAX: u32 = 100;

/// Something asked of a part.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Keep this content and deploy it.
    Deploy {
        /// Whose.
        project: ProjectName,
        /// Which service, made if need be.
        name: ServiceName,
        /// Names the request, for ever.
        nonce: String,
        /// What is served.
        content: String,
        /// Further environment, which tells the paper world how to behave.
        env: Vec<(String, String)>,
    },
    /// Change a service that is there.
    Change {
        /// Whose.
        project: ProjectName,
        /// Which.
        service: ServiceId,
        /// Names the request, for ever.
        nonce: String,
        /// What to do.
        payload: Box<TaskPayload>,
    },
    /// Make this build.
    Build {
        /// Names the request, for ever.
        nonce: String,
        /// What is built, in the form that the store keeps.
        spec: String,
    },
    /// Which builds are at work, and where?
    Builds,
    /// How many tasks wait, and are at work?
    Counts,
    /// The same, and how many instances somebody has still to deal with?
    Unsettled,
    /// What is this worker, and how much does it hold?
    Worker,
}

/// What a part answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It will be done.
    Accepted {
        /// By this task.
        task: TaskId,
        /// To this service.
        service: ServiceId,
    },
    /// It will be made, or is, or was.
    Building {
        /// As this build.
        build: BuildId,
    },
    /// Builds at work, each with the worker that has it.
    Builds {
        /// Build and worker.
        at_work: Vec<(BuildId, String)>,
    },
    /// It will not be.
    Refused {
        /// In words.
        reason: String,
    },
    /// How much is left to do.
    Counts {
        /// Tasks that are queued.
        queued: u64,
        /// Tasks at work.
        running: u64,
        /// Instances that are not live; 0 when that was not asked for.
        unsettled: u64,
    },
    /// What this worker is, to everybody.
    Worker {
        /// Whether it takes tasks, in the store's word.
        state: String,
        /// Tasks that it holds.
        running: u64,
    },
}

/// Answers until aborted.
///
/// # Errors
///
/// Any error of the file system.
pub fn serve(path: &Path, name: String, store: Store, blobs: Blobs) -> io::Result<JoinHandle<()>> {
    remove_if_there(path)?;
    let listener = UnixListener::bind(path)?;
    Ok(tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((connection, _peer)) = listener.accept().await {
            while open.try_join_next().is_some() {}
            let (name, store, blobs) = (name.clone(), store.clone(), blobs.clone());
            open.spawn(async move { converse(connection, &name, &store, &blobs).await });
        }
    }))
}

/// Who breaks off in the middle has been answered enough.
async fn converse(connection: UnixStream, name: &str, store: &Store, blobs: &Blobs) {
    let (read, mut write) = connection.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = answer(&line, name, store, blobs).await;
        let answer = answer.unwrap_or_else(|error| Answer::Refused { reason: format!("{error:#}") });
        let Ok(mut bytes) = serde_json::to_vec(&answer) else { return };
        bytes.push(b'\n');
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn answer(line: &str, name: &str, store: &Store, blobs: &Blobs) -> anyhow::Result<Answer> {
    let request = match serde_json::from_str(line).context("this is no question")? {
        Ask::Counts => return counts(store, false).await,
        Ask::Unsettled => return counts(store, true).await,
        Ask::Worker => return worker(store, name).await,
        Ask::Builds => return builds(store).await,
        Ask::Build { nonce, spec } => return build(store, nonce, &spec).await,
        Ask::Change { project, service, nonce, payload } => {
            Request { project, target: Target::Existing(service), payload: *payload, actor: nonce, if_version: None }
        }
        Ask::Deploy { project, name, nonce, content, env } => {
            let source = keep(blobs, &content).await?;
            let payload = TaskPayload::Deploy(deploy_of(source, &nonce, env));
            let target = Target::NamedOrNew(name, ServiceId(Uuid::new_v4()));
            Request { project, target, payload, actor: nonce, if_version: None }
        }
    };
    let accepted = store.request(request).await?;
    Ok(Answer::Accepted { task: accepted.task, service: accepted.service.id })
}

async fn build(store: &Store, nonce: String, spec: &str) -> anyhow::Result<Answer> {
    let spec = Spec::parse(spec)?;
    let request = BuildRequest {
        project: ProjectName::default(),
        recipe: spec.recipe.name.clone(),
        key: spec.key().as_str().to_owned(),
        spec: spec.to_json(),
        actor: nonce,
        after: 0,
        labels: BTreeSet::from([go_label(&spec.go)]),
    };
    let (build, _is_new) = store.request_build(request).await?;
    Ok(Answer::Building { build: build.id })
}

async fn builds(store: &Store) -> anyhow::Result<Answer> {
    let filter = BuildFilter { recipe: None, state: Some("building".to_owned()) };
    let mut at_work = Vec::new();
    for build in store.list_builds(&ProjectName::default(), &filter, None, BUILDS_MAX).await? {
        let worker = store.find_build_work(build.id).await?.and_then(|work| work.worker);
        at_work.extend(worker.map(|worker| (build.id, worker)));
    }
    Ok(Answer::Builds { at_work })
}

async fn keep(blobs: &Blobs, content: &str) -> anyhow::Result<Source> {
    let mut writer = blobs.begin(CONTENT_BYTES_MAX).await?;
    writer.write(content.as_bytes()).await?;
    let blob = writer.finish().await?;
    Ok(Source {
        digest: blob.digest,
        size_bytes: blob.size_bytes,
        content_type: None,
        file_name: Some("hello.txt".to_owned()),
        url: None,
    })
}

async fn counts(store: &Store, all: bool) -> anyhow::Result<Answer> {
    let counts = store.task_counts().await?;
    let rows = if all { store.list_instances(None).await? } else { Vec::new() };
    let unsettled = rows.iter().filter(|row| row.role != InstanceRole::Live).count();
    Ok(Answer::Counts { queued: counts.queued, running: counts.running, unsettled: u64::try_from(unsettled)? })
}

async fn worker(store: &Store, name: &str) -> anyhow::Result<Answer> {
    let all = store.list_workers().await?;
    let own = all.into_iter().find(|worker| worker.facts.id == name).context("it is not registered")?;
    Ok(Answer::Worker { state: own.state.word().to_owned(), running: own.running })
}
