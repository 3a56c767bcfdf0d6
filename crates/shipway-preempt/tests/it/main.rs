//! The clouds' questions, asked of stand-ins on loopback, and the signal.

#[cfg(test)]
mod clouds;
#[cfg(test)]
mod signal;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod trouble;

/// A test file that nobody names here would never run.
#[test]
fn no_file_is_forgotten() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(here).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        let main = include_str!("main.rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
