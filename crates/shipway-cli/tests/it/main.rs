//! The command line, from what is typed to what is printed, against the real API
//! with a world in small behind it.

#![expect(clippy::unwrap_used, reason = "a test that panics says where")]

mod builds;
mod errors;
mod exec;
mod help;
mod life;
mod queue;
mod typed;
mod verify;

#[path = "../../../shipway-api/tests/it/world.rs"]
#[expect(dead_code, reason = "the API's own tests need more of it")]
mod world;

/// A test file that nobody names here would never run.
#[test]
fn no_test_file_is_forgotten() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(here).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let stem = name.trim_end_matches(".rs");
        let known = stem == "main" || entry.path().is_dir() || main.contains(&format!("mod {stem};"));
        assert!(known, "{name} is not in main.rs");
    }
}
