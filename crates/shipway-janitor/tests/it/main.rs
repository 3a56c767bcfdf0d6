//! The janitor on a real store, and housekeeping on a real disk.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

mod disk;
mod figures;
mod rows;
mod world;

#[test]
fn no_file_was_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let declared = include_str!("main.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(declared || module == "main", "{name} is declared nowhere");
    }
}
