//! One suite for the store, whatever database is behind it. A file is a promise
//! of the store's; the names of the tests are its small print.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

mod child;
mod counts;
mod crash;
mod events;
mod images;
mod instances;
mod model;
mod notices;
mod opening;
mod publishing;
mod queue;
mod races;
mod requests;
mod services;
mod tokens;
mod trouble;
mod world;

#[test]
fn no_file_of_the_suite_was_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let declared = include_str!("main.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(declared || module == "main", "{name} is declared nowhere");
    }
}
