//! Artifacts in a directory, and in two real S3 servers with faults put in between.
#![cfg(test)]
#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

mod conform;
mod directory;
mod faults;
mod fixtures;
mod killed;
mod marks;
mod memory;
mod servers;
mod signatures;
mod sweeps;
mod syscalls;
mod tls;
mod weather;

/// A module that nobody names is a test that nobody runs.
#[test]
fn no_file_was_forgotten() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
