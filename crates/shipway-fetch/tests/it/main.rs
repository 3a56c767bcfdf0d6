//! Downloads from hostile origins, over real sockets on loopback.
//!
//! `127.1.0.0/16` plays the public internet: the allow-list exempts it. Everything
//! else in `127.0.0.0/8` is as private as it really is.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod content;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod time;
#[cfg(test)]
mod tls;

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
