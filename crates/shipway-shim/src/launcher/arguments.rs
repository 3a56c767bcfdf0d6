//! The command line: `shipway-shim launcher [OPTION]... [PATH]...`.
//!
//! Read by an engine of the same release and by tests, not by people; two options
//! exist for tests only, and say so by being long.

use alloc::string::String;
use alloc::vec::Vec;

use crate::failure::Failure;

/// What the launcher was started with.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// Paths whose file systems must stay reachable; none: all.
    pub(super) paths: Vec<Vec<u8>>,
    /// Tests only: run programs without a filter.
    pub(super) without_seccomp: bool,
    /// Tests only: use nothing that this kernel (major, minor) did not have.
    pub(super) kernel: Option<(u32, u32)>,
}

/// Parses the whole command line, the program's name included.
pub(super) fn parse(arguments: &[Vec<u8>]) -> Result<Arguments, Failure> {
    const STEP: &str = "read the command line";
    let mut words = arguments.iter().skip(1);
    if words.next().map(Vec::as_slice) != Some(b"launcher") {
        return Err(Failure::refused(STEP, "expected: shipway-shim launcher [PATH]..."));
    }
    let mut parsed = Arguments::default();
    for word in words {
        let text = String::from_utf8_lossy(word);
        if word.first() == Some(&b'/') {
            parsed.paths.push(word.clone());
        } else if text == "--tests-only-without-seccomp" {
            parsed.without_seccomp = true;
        } else if let Some(kernel) = text.strip_prefix("--tests-only-as-kernel=") {
            parsed.kernel = version(kernel);
        } else {
            return Err(Failure::refused(STEP, text));
        }
    }
    Ok(parsed)
}

/// Reads `6.1` out of `6.1.0-18-amd64`.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
