//! What a plan needs to know of the place it will be carried out in.

use std::time::Duration;

use crate::platform::Platform;

/// The place and the policy. None of it is a user's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The Go that builds: `1.26.8`, as its `go env GOVERSION` says without `go`.
    pub go: String,
    /// Generation of the sandbox; see [`crate::BuildKey::of`].
    pub sandbox: u32,
    /// Where things are in the sandbox. The same for every build: paths must not decide bytes.
    pub layout: Layout,
    /// `GOPROXY` of the download phase: the one address that phase reaches, and never a list
    /// with `direct` in it.
    pub proxy: String,
    /// Which modules must be in the checksum database.
    pub checksums: Checksums,
    /// What the worker itself is: binaries for it are run in `verify`. `None`: none is.
    pub host: Option<Platform>,
    /// Bounds of the steps.
    pub limits: Limits,
}

/// Absolute paths in the sandbox, none inside another but where it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The Go tool chain, read-only; `bin/go` is in it.
    pub toolchain: String,
    /// `GOMODCACHE`, writable in the download phase.
    pub modules: String,
    /// `GOCACHE`, writable in the build phase.
    pub cache: String,
    /// The generated program: empty and writable at the start.
    pub source: String,
    /// `HOME`, `GOTMPDIR` and `TMPDIR`: empty and writable at the start.
    pub home: String,
    /// Where the binary is put: empty and writable at the start.
    pub output: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            toolchain: "/usr/local/go".into(),
            modules: "/go/mod".into(),
            cache: "/go/cache".into(),
            source: "/go/src".into(),
            home: "/go/home".into(),
            output: "/go/out".into(),
        }
    }
}

/// The go command's policy of checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums {
    /// `GOSUMDB`: the database's name (with a key, if it is none that Go knows), or `off`.
    pub database: String,
    /// `GONOSUMDB`: patterns of modules that need not be in it.
    pub exempt: Vec<String>,
}

/// Bounds of a build's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For each step of the download phase. Short of a hung server for ever, long enough for a
    /// thousand modules over a slow line.
    pub download: Duration,
    /// For `compile`.
    pub compile: Duration,
    /// For `verify`: a program whose start hangs is found out by it.
    pub verify: Duration,
    /// Memory of a step, bytes. The linker of a large program needs more than one gigabyte.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            download: Duration::from_secs(5 * 60),
            compile: Duration::from_secs(30 * 60),
            verify: Duration::from_secs(60),
            memory_bytes: 2 << 30,
        }
    }
}
