//! An image made of a distribution's own packages.
//!
//! `mmdebstrap` does it where it is installed: it resolves, fetches, checks signatures and
//! installs with the host's apt, and writes the result as a tar archive, which goes through
//! the same rules as anybody's. Nothing a user says reaches it but a word of the table
//! below; the mirror is the one that this host's own packages come from.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// Where it is, if it is installed.
const PROGRAM: &str = "/usr/bin/mmdebstrap";
const REMEDY: &str = "install it on the server: apt-get install mmdebstrap";
/// Releases that may be asked for.
const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "sid"];
/// Longest the whole may take, for `timeout(1)`.
const TIME_MAX: &str = "1800";
/// Largest file it may write, the archive among them, for `prlimit(1)`.
const FILE_BYTES_MAX: u64 = 8 << 30;
/// Kept of what it says when it fails.
const SAID_LINES_MAX: usize = 20;
const SAID_BYTES_MAX: u64 = 64 << 10;

/// What a slim image does without, as Debian's own.
const SLIM: [&str; 6] = [
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/lintian/*",
];

/// Why an image was not made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Nothing is known by this name.
    #[error("`{from}` cannot be made: known are debian:SUITE and debian:SUITE-slim of {}", SUITES.join(", "))]
    Unknown {
        /// What was asked for.
        from: String,
    },
    /// `mmdebstrap` is not there.
    #[error("mmdebstrap is not installed on this server")]
    NotInstalled {
        /// How to get it.
        remedy: &'static str,
    },
    /// It could not be run, or failed.
    #[error("mmdebstrap failed: {how}")]
    Failed {
        /// How it ended.
        how: String,
        /// The last lines it said.
        said: Vec<String>,
    },
}

/// What is made: a suite, whole or slim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recipe {
    suite: &'static str,
    is_slim: bool,
}

impl Recipe {
    fn of(from: &str) -> Option<Self> {
        let tag = from.strip_prefix("debian:")?;
        let (wanted, is_slim) = tag.strip_suffix("-slim").map_or((tag, false), |suite| (suite, true));
        let suite = SUITES.into_iter().find(|suite| *suite == wanted)?;
        Some(Self { suite, is_slim })
    }
}

/// Writes the root file system that `from` names (`debian:bookworm-slim`) as a tar archive
/// into `archive`, an empty file, and returns that at its beginning. Takes a minute.
///
/// # Errors
///
/// [`BootstrapError`]; what is in the file then is of no use.
pub async fn bootstrap(from: &str, archive: File) -> Result<File, BootstrapError> {
    let recipe = Recipe::of(from).ok_or_else(|| BootstrapError::Unknown { from: shown(from) })?;
    if !Path::new(PROGRAM).exists() {
        return Err(BootstrapError::NotInstalled { remedy: REMEDY });
    }
    let made = tokio::task::spawn_blocking(move || make(recipe, archive)).await;
    made.unwrap_or_else(|error| Err(failed(io::Error::other(error))))
}

fn failed(error: io::Error) -> BootstrapError {
    BootstrapError::Failed { how: error.to_string(), said: Vec::new() }
}

fn make(recipe: Recipe, mut archive: File) -> Result<File, BootstrapError> {
    let out = archive.try_clone().map_err(failed)?;
    let mut child = command(recipe, out).spawn().map_err(failed)?;
    let said = last_words(&mut child);
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(BootstrapError::Failed { how: status.to_string(), said });
    }
    archive.rewind().map_err(failed)?;
    Ok(archive)
}

/// Under `timeout`, in a process group of its own, which `timeout` ends as a whole.
fn command(recipe: Recipe, out: File) -> Command {
    let mut command = Command::new("/usr/bin/prlimit");
    command.arg(format!("--fsize={FILE_BYTES_MAX}"));
    command.args(["/usr/bin/timeout", "--kill-after=10", TIME_MAX]);
    command.args([PROGRAM, "--mode=root", "--format=tar", "--variant=minbase", "--quiet"]);
    if recipe.is_slim {
        command.args(SLIM);
    }
    for option in apt_options() {
        command.arg(format!("--aptopt={option}"));
    }
    command.args([recipe.suite, "-"]);
    command.args(host_mirror());
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped());
    command
}

/// Reads what it says to the end, so that it never waits for us, and keeps the last of it.
fn last_words(child: &mut Child) -> Vec<String> {
    let Some(said) = child.stderr.take() else {
        return Vec::new();
    };
    thread::scope(|scope| {
        let reader = scope.spawn(move || tail(said));
        reader.join().unwrap_or_default()
    })
}

fn tail(mut said: impl Read) -> Vec<String> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = said.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..read]);
        let excess = kept.len().saturating_sub(usize::try_from(SAID_BYTES_MAX).unwrap_or(usize::MAX));
        kept.drain(..excess);
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<String> = text.lines().map(shown).collect();
    lines[lines.len().saturating_sub(SAID_LINES_MAX)..].to_vec()
}

/// How this host reaches its mirrors, where it needs help with that.
fn apt_options() -> Vec<String> {
    let keys = ["Acquire::http::Proxy", "Acquire::https::Proxy"];
    let asked = Command::new("/usr/bin/apt-config").arg("dump").args(keys).stdin(Stdio::null()).output();
    let Ok(output) = asked else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))).map(str::to_owned).collect()
}

/// The mirror of this host's own packages, if it is Debian's and says so in a file of apt's.
fn host_mirror() -> Option<String> {
    let mut files = vec!["/etc/apt/sources.list".into()];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        files.extend(more);
    }
    files.iter().filter_map(|file: &std::path::PathBuf| fs::read_to_string(file).ok()).find_map(|text| mirror_in(&text))
}

/// The first address of `deb …` or `URIs: …` that ends like an archive of Debian's.
fn mirror_in(sources: &str) -> Option<String> {
    let lines = sources.lines().map(str::trim).filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    lines.flat_map(str::split_whitespace).find(|word| is_mirror(word)).map(str::to_owned)
}

fn is_mirror(word: &str) -> bool {
    let http = word.starts_with("http://") || word.starts_with("https://");
    http && word.trim_end_matches('/').ends_with("/debian")
}

/// A line as far as it can do no harm in an answer.
fn shown(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_table_is_made() {
        assert_eq!(Recipe::of("debian:bookworm-slim"), Some(Recipe { suite: "bookworm", is_slim: true }));
        assert_eq!(Recipe::of("debian:trixie"), Some(Recipe { suite: "trixie", is_slim: false }));
        for bad in
            ["", "debian", "debian:", "debian:--help", "ubuntu:jammy", "debian:bookworm-slim-slim", "debian:../x"]
        {
            assert_eq!(Recipe::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_mirror_is_the_one_of_the_host() {
        let old = "# deb http://old.example/debian x\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("http://mirror.example/debian"));
        let new = "Types: deb\nURIs: https://mirror.example/debian/\nSuites: bookworm\n";
        assert_eq!(mirror_in(new).as_deref(), Some("https://mirror.example/debian/"));
        for none in ["", "deb http://example.com/debian-security x", "deb file:/srv/debian x", "deb --x/debian x"] {
            assert_eq!(mirror_in(none), None, "{none}");
        }
    }

    #[test]
    fn the_last_it_said_is_kept() {
        let text: String = (0..20_000).map(|n| format!("line {n}\u{1b}\n")).collect();
        let kept = tail(text.as_bytes());
        assert_eq!((kept.len(), kept.last().map(String::as_str)), (20, Some("line 19999")));
    }
}
