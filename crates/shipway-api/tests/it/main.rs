//! The API as its callers meet it: over its sockets, with a real store behind it
//! and a small world in place of the worker.

#![expect(clippy::unwrap_used, reason = "a test that panics says where")]

mod access;
mod builds;
mod caddy;
mod edge;
mod exec;
mod failing;
mod golden;
mod images;
mod input;
mod origin;
mod queue;
mod releases;
mod services;
mod streams;
mod system;
mod tokens;
mod url_deploy;
#[expect(dead_code, reason = "the command line's tests need more of it")]
mod world;

/// A test file that nobody names here would never run.
#[test]
fn no_test_file_is_forgotten() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(here).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.trim_end_matches(".rs");
        let known = stem == "main" || main.contains(&format!("mod {stem};"));
        assert!(known, "{name} is not in main.rs");
    }
}
