//! One suite for the store, run on SQLite and on a real PostgreSQL; and what each of them
//! has of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]
#![expect(clippy::duplicate_mod, reason = "the suite runs on each of the two databases")]

// The whole suite, on each of the two.
#[path = "suite.rs"]
mod postgres;
#[path = "suite.rs"]
mod sqlite;

// What only one of them can do, or suffer.
mod durability;
mod opening;
mod portable;
mod server;
mod trouble;

#[test]
fn no_file_of_the_suite_was_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let lines = include_str!("main.rs").lines().chain(include_str!("suite.rs").lines());
        let declared = lines.into_iter().any(|line| line.trim_start_matches("pub(crate) ") == format!("mod {module};"));
        assert!(declared || ["main", "suite"].contains(&module), "{name} is declared nowhere");
    }
}
