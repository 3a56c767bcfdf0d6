//! The real runners, on a unix socket, with real scripts: what both promise, each test
//! once for each of them, and what is only the one's or the other's.

#[cfg(test)]
#[macro_use]
mod harness;

#[cfg(test)]
mod cgi;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod static_file;

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
