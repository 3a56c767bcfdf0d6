//! What provenance and list of parts tell, once they are known to be of this file. They are read as
//! what they are: JSON of strangers, of which only the known places are looked at.

use serde::Serialize;
use serde_json::Value;

use super::Subject;
use super::checks::shown;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// Plugins and replacements shown.
const SHOWN_MAX: usize = 200;

/// Who made the file of what, as somebody says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Provenance {
    builder: String,
    recipe: String,
    program: String,
    platform: String,
    plugins: Vec<String>,
    replacements: Vec<String>,
    go: String,
    build: String,
    finished_at: String,
}

impl Provenance {
    /// Reads an in-toto statement with SLSA provenance; an error is why it is none of this file.
    pub(super) fn read(text: &str, subject: &Subject) -> Result<Self, String> {
        let statement: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let says = |place: &str, word: &str| statement.pointer(place).and_then(Value::as_str) == Some(word);
        if !says("/_type", STATEMENT) || !says("/predicateType", PREDICATE) {
            return Err("it is no provenance as in-toto and SLSA have it".to_owned());
        }
        let subjects = statement["subject"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_it = |one: &Value| one.pointer("/digest/sha256").and_then(Value::as_str) == Some(&subject.sha256);
        if !subjects.iter().any(is_it) {
            return Err("it is of another file".to_owned());
        }
        let text = |place: &str| one(&statement["predicate"], place);
        let texts = |place: &str| many(&statement["predicate"], place);
        Ok(Self {
            builder: text("/runDetails/builder/id"),
            recipe: text("/buildDefinition/internalParameters/recipe/name"),
            program: text("/buildDefinition/externalParameters/program"),
            platform: text("/buildDefinition/externalParameters/platform"),
            plugins: texts("/buildDefinition/externalParameters/plugins"),
            replacements: texts("/buildDefinition/externalParameters/replacements"),
            go: text("/buildDefinition/internalParameters/go"),
            build: text("/runDetails/metadata/invocationId"),
            finished_at: text("/runDetails/metadata/finishedOn"),
        })
    }

    /// For people.
    pub(super) fn lines(&self) -> String {
        let fields = [
            ("builder", &self.builder),
            ("recipe", &self.recipe),
            ("program", &self.program),
            ("for", &self.platform),
            ("Go", &self.go),
            ("build", &self.build),
            ("made", &self.finished_at),
        ];
        let line = |name: &str, value: &String| format!("  {name:9} {}\n", shown(value));
        let mut text = String::new();
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&line(name, value));
        }
        self.plugins.iter().for_each(|plugin| text.push_str(&line("with", plugin)));
        self.replacements.iter().for_each(|replacement| text.push_str(&line("replaced", replacement)));
        if text.is_empty() { text } else { format!("its provenance says (not signed itself):\n{text}") }
    }
}

fn one(value: &Value, place: &str) -> String {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn many(value: &Value, place: &str) -> Vec<String> {
    let texts = value.pointer(place).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    texts.take(SHOWN_MAX).map(str::to_owned).collect()
}

/// What it is made of, as somebody says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Parts {
    components: usize,
}

impl Parts {
    /// Reads a list in `CycloneDX`; an error is why it is none of this file.
    pub(super) fn read(text: &str, subject: &Subject) -> Result<Self, String> {
        let list: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        if list["bomFormat"] != "CycloneDX" {
            return Err("it is no list of parts as CycloneDX has it".to_owned());
        }
        let hashes = list.pointer("/metadata/component/hashes").and_then(Value::as_array).into_iter().flatten();
        let mut sha256 = hashes.filter(|hash| hash["alg"] == "SHA-256").map(|hash| &hash["content"]);
        if !sha256.any(|content| *content == subject.sha256.as_str()) {
            return Err("it is of another file".to_owned());
        }
        Ok(Self { components: list["components"].as_array().map_or(0, Vec::len) })
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        format!("its list of parts has {} modules\n", self.components)
    }
}
