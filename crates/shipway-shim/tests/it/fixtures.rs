//! Messages and files of earlier releases are still read, and written the same.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shipway_shim::protocol::{Answer, Ask, Exit, Gate, Launch, Launched, Run};

/// Reads a fixture and writes it again: nothing is lost, nothing means something else.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name);
    let text = fs::read_to_string(&path).expect("the fixture is there");
    let before: serde_json::Value = serde_json::from_str(&text).expect("a fixture is JSON");
    let read: T = serde_json::from_str(&text).expect("it is still understood");
    let after = serde_json::to_value(&read).expect("it is JSON");
    assert_eq!(after, before, "{name}");
}

#[test]
fn version_1_is_understood() {
    check::<Launch>("launch-tree.json");
    check::<Launch>("launch-overlay.json");
    check::<Vec<Launched>>("launched.json");
    check::<Run>("run.json");
    check::<Exit>("exit.json");
    check::<Vec<Ask>>("asks.json");
    check::<Vec<Answer>>("answers.json");
}

/// What was added to version 1 later.
#[test]
fn additions_to_version_1_are_understood() {
    check::<Launch>("launch-gate.json");
    check::<Vec<Launched>>("launched-gate.json");
    check::<Vec<Gate>>("gate.json");
    check::<Vec<Ask>>("asks-size.json");
}

#[test]
fn no_fixture_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    assert_eq!(fs::read_dir(folder).expect("the fixtures").count(), 11);
}
