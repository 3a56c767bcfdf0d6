//! Archives, good and hostile, unpacked for real. Needs root: owners are kept.

#[cfg(test)]
mod agree;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod craft;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod random;

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
