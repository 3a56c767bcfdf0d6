//! The platforms that binaries are built for.
//!
//! A list of what is allowed, not of what Go can do: the 28 of Caddy's download page, and
//! linux/riscv64, which its releases have.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Operating system and architectures; `arm` stands for its three versions.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "linux",
        &[
            "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
            "s390x",
        ],
    ),
    ("freebsd", &["amd64", "arm", "arm64"]),
    ("openbsd", &["amd64", "arm", "arm64"]),
    ("windows", &["amd64", "arm", "arm64"]),
    ("darwin", &["amd64", "arm64"]),
    ("dragonfly", &["amd64"]),
];

/// What `arm` means when nobody says: a binary for 6 also runs on 7.
const ARM_DEFAULT: u8 = 6;

/// An operating system and an architecture, as Go names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "Spelled")]
pub struct Platform {
    os: &'static str,
    arch: &'static str,
    arm: Option<u8>,
}

/// Why a platform is not built for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlatformError {
    /// The operating system is not on the list.
    #[error("unknown os {0:?}: there are {known}", known = oses())]
    Os(String),
    /// The architecture is not, for this operating system.
    #[error("unknown arch {arch:?} for {os}: there are {known}", known = arches(os))]
    Arch {
        /// The operating system.
        os: &'static str,
        /// What was given.
        arch: String,
    },
    /// Not a version of arm, or not one of this operating system's.
    #[error("unknown arm version {arm:?} for {os}: there are {known}", known = arms_text(os))]
    Arm {
        /// The operating system.
        os: &'static str,
        /// What was given.
        arm: String,
    },
    /// A version of arm for another architecture.
    #[error("arm={arm} goes with arch=arm only, not with {arch}")]
    ArmWithout {
        /// What was given as arm.
        arm: String,
        /// The architecture it was given with.
        arch: &'static str,
    },
}

impl Platform {
    /// Reads a platform; `arm` empty is as good as none.
    ///
    /// # Errors
    ///
    /// Not on the list, or `arm` without `arch=arm`; the error says what there is.
    pub fn parse(os: &str, arch: &str, arm: Option<&str>) -> Result<Self, PlatformError> {
        let arm = arm.filter(|arm| !arm.is_empty());
        let Some((os, known)) = ALLOWED.iter().find(|(name, _)| *name == os) else {
            return Err(PlatformError::Os(shown(os)));
        };
        let Some(arch) = known.iter().find(|name| **name == arch) else {
            return Err(PlatformError::Arch { os, arch: shown(arch) });
        };
        let arm = match (*arch, arm) {
            ("arm", None) => Some(ARM_DEFAULT),
            ("arm", Some(given)) => Some(arm_version(os, given)?),
            (_, None) => None,
            (arch, Some(given)) => return Err(PlatformError::ArmWithout { arm: shown(given), arch }),
        };
        Ok(Self { os, arch, arm })
    }

    /// Every platform, in the order of the list.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let each = |(os, arch): (&'static str, &'static str)| -> Vec<Self> {
            let arms = if arch == "arm" { arms(os).iter().copied().map(Some).collect() } else { vec![None] };
            arms.into_iter().map(|arm| Self { os, arch, arm }).collect()
        };
        let pairs = ALLOWED.iter().flat_map(|(os, known)| known.iter().map(|arch| (*os, *arch)));
        pairs.flat_map(each).collect()
    }

    /// `GOOS`.
    #[must_use]
    pub const fn os(&self) -> &'static str {
        self.os
    }

    /// `GOARCH`.
    #[must_use]
    pub const fn arch(&self) -> &'static str {
        self.arch
    }

    /// `GOARM`, for `arch` arm.
    #[must_use]
    pub const fn arm(&self) -> Option<u8> {
        self.arm
    }

    /// The name of a program's file there: `caddy`, `caddy.exe`.
    #[must_use]
    pub fn file_name(&self, program: &str) -> String {
        if self.os == "windows" { format!("{program}.exe") } else { program.to_owned() }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        self.arm.map_or(Ok(()), |arm| write!(f, "/v{arm}"))
    }
}

/// A platform as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    os: String,
    arch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arm: Option<u8>,
}

/// By hand: the derived one would want to borrow for ever.
impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spelled = Spelled::deserialize(from)?;
        let arm = spelled.arm.map(|arm| arm.to_string());
        Self::parse(&spelled.os, &spelled.arch, arm.as_deref()).map_err(serde::de::Error::custom)
    }
}

impl From<Platform> for Spelled {
    fn from(platform: Platform) -> Self {
        Self { os: platform.os.to_owned(), arch: platform.arch.to_owned(), arm: platform.arm }
    }
}

/// Linux alone has machines without floating point worth a build.
fn arms(os: &str) -> &'static [u8] {
    if os == "linux" { &[5, 6, 7] } else { &[6, 7] }
}

fn arm_version(os: &'static str, given: &str) -> Result<u8, PlatformError> {
    let known = arms(os).iter().find(|arm| arm.to_string() == given);
    known.copied().ok_or_else(|| PlatformError::Arm { os, arm: shown(given) })
}

fn oses() -> String {
    ALLOWED.iter().map(|(os, _)| *os).collect::<Vec<_>>().join(", ")
}

fn arches(os: &str) -> String {
    let known = ALLOWED.iter().find(|(name, _)| *name == os).map_or(&[][..], |(_, known)| known);
    known.join(", ")
}

fn arms_text(os: &str) -> String {
    arms(os).iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

fn shown(given: &str) -> String {
    crate::module::shown(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        let mut words = given.split(' ');
        let mut next = || words.next().unwrap_or_default().to_owned();
        let (os, arch, arm) = (next(), next(), words.next());
        let answer = match Platform::parse(&os, &arch, arm) {
            Ok(platform) => format!("{platform} {}", platform.file_name("caddy")),
            Err(error) => error.to_string(),
        };
        assert_eq!(answer, expected, "given: {given}");
    }

    #[test]
    fn what_is_on_the_list_is_built_for() {
        check("linux amd64", "linux/amd64 caddy");
        check("linux arm", "linux/arm/v6 caddy");
        check("linux arm 5", "linux/arm/v5 caddy");
        check("windows arm64", "windows/arm64 caddy.exe");
    }

    #[test]
    fn what_is_not_is_named_with_what_there_is() {
        check("plan9 amd64", "unknown os \"plan9\": there are linux, freebsd, openbsd, windows, darwin, dragonfly");
        check("darwin arm", "unknown arch \"arm\" for darwin: there are amd64, arm64");
        check("windows arm 5", "unknown arm version \"5\" for windows: there are 6, 7");
        check("linux arm 06", "unknown arm version \"06\" for linux: there are 5, 6, 7");
        check("linux amd64 6", "arm=6 goes with arch=arm only, not with amd64");
        check("", "unknown os \"\": there are linux, freebsd, openbsd, windows, darwin, dragonfly");
    }

    #[test]
    fn there_are_the_download_pages_and_one_more() {
        assert_eq!(Platform::all().len(), 28 + 1);
    }

    #[test]
    fn each_is_written_and_read_again() {
        for platform in Platform::all() {
            let json = serde_json::to_string(&platform).unwrap();
            assert_eq!(serde_json::from_str::<Platform>(&json).unwrap(), platform);
        }
        assert!(serde_json::from_str::<Platform>(r#"{"os":"linux","arch":"../.."}"#).is_err());
    }
}
