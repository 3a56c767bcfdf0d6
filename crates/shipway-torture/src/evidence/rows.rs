//! The database's rows, as far as the checker looks at them.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::Context as _;
use serde::Deserialize;
use shipway_model::{EventKind, Micros, Outcome};

/// A service.
#[derive(Debug, Clone, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its state's word.
    pub state: String,
    /// Its live release.
    pub release: Option<i64>,
    /// `running` or `stopped`.
    pub wanted: String,
}

/// A release.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    /// Whose.
    pub service: String,
    /// Its number.
    pub number: i64,
    /// Its state's word.
    pub state: String,
    /// What it runs, in JSON.
    pub spec: String,
}

/// An instance.
#[derive(Debug, Clone, Deserialize)]
pub struct Instance {
    /// Its container.
    pub container: String,
    /// Whose.
    pub service: String,
    /// Of which release.
    pub release: i64,
    /// `candidate`, `live` or `draining`.
    pub role: String,
}

/// A build.
#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    /// Its id.
    pub id: String,
    /// What decides its output.
    pub build_key: String,
    /// Which of its key.
    pub generation: i64,
    /// `pending`, `building`, `success`, `failed` or `cancelled`.
    pub state: String,
    /// Why it failed, in JSON.
    pub failure: Option<String>,
    /// The last task that was to make it.
    pub task: Option<String>,
}

/// What a build has made.
#[derive(Debug, Clone, Deserialize)]
pub struct Artifact {
    /// Which build.
    pub build: String,
    /// Of its bytes.
    pub digest: String,
    /// How many there are.
    pub size_bytes: u64,
    /// Of the digests of its parts.
    pub chunks: Option<String>,
}

/// A text that goes with an artifact.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    /// Of which build's.
    pub build: String,
    /// `minisig`, say.
    pub kind: String,
    /// All of it.
    pub text: String,
}

/// A task.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its service.
    pub subject: String,
    /// Whose.
    pub project: String,
    /// What it does.
    pub kind: String,
    /// Its request's nonce, or `system`.
    pub actor: String,
    /// `queued`, `running`, `done` or `failed`.
    pub state: String,
    /// How it ended, in JSON.
    pub outcome: Option<String>,
    /// What it does, in JSON.
    pub payload: String,
    /// How often it was claimed and charged.
    pub attempt: i64,
    /// How often it may be.
    pub attempts_max: i64,
    /// Of the last claim.
    pub lease_token: i64,
    /// When it was given up.
    pub given_up_at: Option<Micros>,
    /// When it was asked for.
    pub created_at: Micros,
    /// When it was claimed last.
    pub claimed_at: Option<Micros>,
    /// When it ended.
    pub ended_at: Option<Micros>,
}

impl Task {
    /// How it ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        serde_json::from_str(self.outcome.as_deref()?).ok()
    }
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number within its subject.
    pub seq: i64,
    /// When.
    pub at: Micros,
    /// What.
    pub kind: EventKind,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Services.
    pub services: Vec<Service>,
    /// Releases.
    pub releases: Vec<Release>,
    /// Instances.
    pub instances: Vec<Instance>,
    /// Builds.
    pub builds: Vec<Build>,
    /// Artifacts.
    pub artifacts: Vec<Artifact>,
    /// Their texts.
    pub documents: Vec<Document>,
    /// Tasks, in the order of asking.
    pub tasks: Vec<Task>,
    /// Events by subject, in the order of their numbers.
    pub events: BTreeMap<String, Vec<Event>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Row { table: String, row: serde_json::Value },
    Other {},
}

#[derive(Deserialize)]
struct EventRow {
    subject: String,
    seq: i64,
    at: Micros,
    kind: String,
}

impl Rows {
    /// Reads an export of the store's.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has another form.
    pub fn read(file: impl BufRead) -> anyhow::Result<Self> {
        let mut rows = Self::default();
        for line in file.lines() {
            let line = line?;
            if let Line::Row { table, row } = serde_json::from_str(&line).context("a line of an export")? {
                rows.add(&table, row).with_context(|| format!("a row of {table}: {line}"))?;
            }
        }
        Ok(rows)
    }

    fn add(&mut self, table: &str, row: serde_json::Value) -> anyhow::Result<()> {
        match table {
            "service" => self.services.push(serde_json::from_value(row)?),
            "release" => self.releases.push(serde_json::from_value(row)?),
            "instance" => self.instances.push(serde_json::from_value(row)?),
            "build" => self.builds.push(serde_json::from_value(row)?),
            "artifact" => self.artifacts.push(serde_json::from_value(row)?),
            "document" => self.documents.push(serde_json::from_value(row)?),
            "task" => self.tasks.push(serde_json::from_value(row)?),
            "event" => {
                let row: EventRow = serde_json::from_value(row)?;
                let kind = serde_json::from_str(&row.kind)?;
                self.events.entry(row.subject).or_default().push(Event { seq: row.seq, at: row.at, kind });
            }
            _ => {}
        }
        Ok(())
    }

    /// What happened to a task, in order.
    #[must_use]
    pub fn history(&self, task: &str) -> &[Event] {
        self.events.get(&format!("task/{task}")).map_or(&[], Vec::as_slice)
    }
}
