//! Where an artifact came from: an in-toto statement (v1) with SLSA provenance (v1).
//!
//! Plain data; the same data gives the same text, so it can be compared and signed. The shapes are those of
//! in-toto's *Statement v1* and SLSA's *Provenance v1* specifications; only what we fill in is here.
//! Maps are sorted by their keys.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use shipway_model::Digest;
use shipway_stdx::clock::{Micros, rfc3339};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// What is told of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// What people call the artifact.
    pub name: String,
    /// The artifact.
    pub subject: Digest,
    /// A URI that says how to read the parameters.
    pub build_type: String,
    /// What was asked for: everything that somebody outside chose.
    pub external_parameters: BTreeMap<String, Value>,
    /// What the builder chose by itself.
    pub internal_parameters: BTreeMap<String, Value>,
    /// What went in.
    pub resolved_dependencies: Vec<Dependency>,
    /// A URI of who built.
    pub builder_id: String,
    /// Versions of what built, by name.
    pub builder_version: BTreeMap<String, String>,
    /// This one build, among all.
    pub invocation_id: String,
    /// When it began, in microseconds since 1970.
    pub started_at: Micros,
    /// When it ended, likewise.
    pub finished_at: Micros,
}

/// Something that went into a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// What it is, as a package URL (`pkg:golang/…@v1.2.3`) or any other URI.
    pub uri: String,
    /// Its digests by their kinds: `sha256` in hexadecimal, or `dirHash1` (Go's `h1:` of a module).
    pub digest: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Value; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: Definition<'a>,
    run_details: Run<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition<'a> {
    build_type: &'a str,
    external_parameters: &'a BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    internal_parameters: &'a BTreeMap<String, Value>,
    resolved_dependencies: Vec<Value>,
}

#[derive(Serialize)]
struct Run<'a> {
    builder: Builder<'a>,
    metadata: Value,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    version: &'a BTreeMap<String, String>,
}

impl Provenance {
    /// The statement as text, with a line end at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.statement()).expect("a statement has text keys only");
        text.push('\n');
        text
    }

    fn statement(&self) -> Statement<'_> {
        Statement {
            kind: STATEMENT,
            subject: [json!({"name": self.name, "digest": {"sha256": self.subject.hex()}})],
            predicate_type: PREDICATE,
            predicate: Predicate { build_definition: self.definition(), run_details: self.run() },
        }
    }

    fn definition(&self) -> Definition<'_> {
        let mut dependencies: Vec<&Dependency> = self.resolved_dependencies.iter().collect();
        dependencies.sort();
        let told = |dependency: &Dependency| json!({"uri": dependency.uri, "digest": dependency.digest});
        Definition {
            build_type: &self.build_type,
            external_parameters: &self.external_parameters,
            internal_parameters: &self.internal_parameters,
            resolved_dependencies: dependencies.into_iter().map(told).collect(),
        }
    }

    fn run(&self) -> Run<'_> {
        Run {
            builder: Builder { id: &self.builder_id, version: &self.builder_version },
            metadata: json!({
                "invocationId": self.invocation_id,
                "startedOn": rfc3339(self.started_at),
                "finishedOn": rfc3339(self.finished_at),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
