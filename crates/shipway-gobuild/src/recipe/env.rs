//! Variables of an operator's own in the environment of a build's steps (`worker.build_env`).
//!
//! They reach the go command and what it starts, and they decide bytes, so they are part of the
//! recipe and, with it, of the build key. What would undo the sandbox, make a build depend on
//! something that its key does not name, or change what it was asked for, is refused with the
//! reason. Of Go's own variables only those are let through that are known to do neither; others
//! that programs read are refused by name. Values stand in the build's record for all to see.

use std::collections::BTreeMap;

use thiserror::Error;

/// Most variables: more than anybody has, few enough for one environment.
const VARIABLES_MAX: usize = 64;
/// Most bytes of a name and of a value.
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 4096;

/// A variable that a build cannot have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name} cannot be set for builds: {reason}")]
pub struct EnvError {
    /// The variable.
    pub name: String,
    /// Why, and what to set instead.
    pub reason: &'static str,
}

/// Go's variables that only decide how code is made, or how hard the compiler works.
const LET_THROUGH: &[&str] = &[
    "GO386",
    "GOAMD64",
    "GOARM64",
    "GOEXPERIMENT",
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOMIPS",
    "GOMIPS64",
    "GOPPC64",
    "GORISCV64",
];

const PLATFORM: &str = "each build says itself what it is built for";
const CGO: &str = "builds are made without cgo, so that the same request gives the same bytes everywhere";
const PROXY: &str = "module proxies are named in `api.go_proxy`, and nothing else is reached";
const CHECKSUMS: &str = "the policy of checksums is `builds.checksum_database` and `builds.checksum_exempt`";
const PRIVATE: &str = "version control is never asked: name a proxy that has such modules in `api.go_proxy`, and the \
                       modules in `builds.checksum_exempt`";
const FLAGS: &str = "the flags of a build are its recipe's";
const TOOLCHAIN: &str = "the Go tool chain is chosen by `builds.go`";
const PLACES: &str = "where things are in the sandbox is the same for every build";
const NETWORK: &str = "a build reaches the module proxies through a door of its own, and nothing else";
const VERSION_CONTROL: &str = "version control is never run";
const LOADER: &str = "it would put other code into the compiler";
const REPRODUCIBLE: &str = "it is the same for every build, so that the same request gives the same bytes";
const UNKNOWN_GO: &str = "of Go's own variables only those are let through that are known to keep builds apart and \
                          reproducible: GOAMD64 and its like, GOEXPERIMENT, GOGC, GOMAXPROCS, GOMEMLIMIT";

/// Variables that are refused, each with its reason; a `*` at the end stands for any rest.
const REFUSED: &[(&str, &str)] = &[
    ("GOOS", PLATFORM),
    ("GOARCH", PLATFORM),
    ("GOARM", PLATFORM),
    ("CGO_*", CGO),
    ("CC", CGO),
    ("CXX", CGO),
    ("FC", CGO),
    ("AR", CGO),
    ("GCCGO", CGO),
    ("PKG_CONFIG*", CGO),
    ("GOPROXY", PROXY),
    ("GOINSECURE", PROXY),
    ("GOSUMDB", CHECKSUMS),
    ("GONOSUMDB", CHECKSUMS),
    ("GONOSUMCHECK", CHECKSUMS),
    ("GOPRIVATE", PRIVATE),
    ("GONOPROXY", PRIVATE),
    ("GOVCS", VERSION_CONTROL),
    ("GOAUTH", VERSION_CONTROL),
    ("GIT_*", VERSION_CONTROL),
    ("SSH_*", VERSION_CONTROL),
    ("HG*", VERSION_CONTROL),
    ("NETRC", VERSION_CONTROL),
    ("GOFLAGS", FLAGS),
    ("GO_EXTLINK_ENABLED", FLAGS),
    ("GOENV", FLAGS),
    ("GOWORK", FLAGS),
    ("GO111MODULE", FLAGS),
    ("GOTOOLCHAIN", TOOLCHAIN),
    ("GOROOT*", TOOLCHAIN),
    ("GOTOOLDIR", TOOLCHAIN),
    ("GOPATH", PLACES),
    ("GOMODCACHE", PLACES),
    ("GOCACHE*", PLACES),
    ("GOTMPDIR", PLACES),
    ("GOBIN", PLACES),
    ("HOME", PLACES),
    ("PATH", PLACES),
    ("PWD", PLACES),
    ("TMPDIR", PLACES),
    ("XDG_*", PLACES),
    ("HTTP_PROXY", NETWORK),
    ("HTTPS_PROXY", NETWORK),
    ("ALL_PROXY", NETWORK),
    ("NO_PROXY", NETWORK),
    ("SSL_CERT_*", NETWORK),
    ("LD_*", LOADER),
    ("GLIBC_TUNABLES", LOADER),
    ("LANG", REPRODUCIBLE),
    ("LC_*", REPRODUCIBLE),
    ("SOURCE_DATE_EPOCH", REPRODUCIBLE),
    ("GO*", UNKNOWN_GO),
];

/// Says whether builds can have these variables.
///
/// # Errors
///
/// The first that they cannot have.
pub fn check(variables: &BTreeMap<String, String>) -> Result<(), EnvError> {
    let refuse = |name: &str, reason| Err(EnvError { name: name.chars().take(NAME_BYTES_MAX).collect(), reason });
    for (name, value) in variables {
        if variables.len() > VARIABLES_MAX {
            return refuse(name, "there are too many variables: at most 64");
        }
        if !is_name(name) {
            return refuse(name, "a name is letters, digits and _, and begins with no digit");
        }
        if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return refuse(name, "a value is one line of at most 4096 bytes");
        }
        if let Some(reason) = reason(name) {
            return refuse(name, reason);
        }
    }
    Ok(())
}

/// Why this one is refused, whatever its value. Some programs read theirs in lower case, too.
fn reason(name: &str) -> Option<&'static str> {
    if LET_THROUGH.contains(&name) {
        return None;
    }
    let name = name.to_ascii_uppercase();
    let fits = |pattern: &str| pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start));
    REFUSED.iter().find(|(pattern, _)| fits(pattern)).map(|(_, reason)| *reason)
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn checked(name: &str, value: &str) -> Result<(), String> {
        check(&BTreeMap::from([(name.to_owned(), value.to_owned())])).map_err(|error| error.to_string())
    }

    #[test]
    fn what_only_decides_how_code_is_made_is_let_through() {
        for (name, value) in [("GOAMD64", "v3"), ("GOEXPERIMENT", "a,nob"), ("GOMAXPROCS", "2"), ("MY_OWN", "a b=c")] {
            assert_eq!(checked(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_undoes_the_sandbox_or_the_key_is_refused_with_what_to_set_instead() {
        for (name, says) in [
            ("GOOS", "what it is built for"),
            ("GOARCH", "what it is built for"),
            ("GOARM", "what it is built for"),
            ("CGO_ENABLED", "without cgo"),
            ("CGO_CFLAGS", "without cgo"),
            ("GOPROXY", "`api.go_proxy`"),
            ("GOPRIVATE", "`builds.checksum_exempt`"),
            ("GOFLAGS", "recipe"),
            ("GOTOOLCHAIN", "`builds.go`"),
            ("GOCACHEPROG", "sandbox"),
            ("https_proxy", "door"),
            ("LD_PRELOAD", "compiler"),
            ("PATH", "sandbox"),
            ("GOFUTURE", "known"),
            ("A-B", "letters"),
            ("1A", "letters"),
            ("", "letters"),
        ] {
            let said = checked(name, "x").expect_err(name);
            assert!(said.contains(says), "{said:?} does not say {says:?}");
        }
        assert!(checked("A", "two\nlines").is_err());
        assert!(checked("A", &"x".repeat(5000)).is_err());
        let many = (0..=VARIABLES_MAX).map(|number| (format!("A{number}"), String::new())).collect();
        assert!(check(&many).is_err());
    }

    #[test]
    fn whatever_the_plan_sets_itself_is_refused() {
        let of_the_plan =
            ["GOENV", "GOWORK", "GOTELEMETRY", "GOMODCACHE", "GOCACHE", "GOROOT", "GOTMPDIR", "LANG", "HOME"];
        for name in of_the_plan {
            assert!(checked(name, "x").is_err(), "{name}");
        }
    }
}
