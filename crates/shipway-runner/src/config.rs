//! What the runner is told: on its command line, or, where nginx serves, in its
//! environment.
//!
//! Parsed by hand: a dozen flags do not pay for a parser in a program that wants
//! to stay under a megabyte. Its only caller is Shipway's driver, so a mistake
//! names the flag, or the variable, and ends the program.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// A variable of an environment: its name and its value.
pub type Variable = (OsString, OsString);

/// What a visitor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file itself, at `/`.
    Static,
    /// What the file prints when it is run, on every path.
    Script,
}

/// Everything the runner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Served as it is, or run on every request.
    pub kind: Kind,
    /// The file, absolute inside the container.
    pub content: PathBuf,
    /// Its digest, `sha256:` and 64 hexadecimal digits; becomes the `ETag`.
    pub digest: String,
    /// The type its origin declared, if any.
    pub content_type: Option<String>,
    /// Its name at the origin; decides the type when none was declared.
    pub file_name: Option<String>,
    /// Longest a script may take for one request, whole.
    pub timeout: Duration,
    /// Most bytes a script may print for one request.
    pub output_bytes: u64,
    /// Scripts at work at once.
    pub concurrency: usize,
}

/// Why the arguments cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The first argument is not `serve`.
    NotServe,
    /// Not a flag of ours.
    UnknownFlag(String),
    /// A flag without its value, given twice, or with one that does not fit.
    BadFlag {
        /// Which.
        flag: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A variable that is missing or does not fit.
    BadVariable {
        /// Which.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotServe => f.write_str(
                "usage: shipway-runner serve --kind static|script --content PATH --digest sha256:… \
                 [--content-type T] [--file-name N] [--timeout-ms N] [--output-bytes N] [--concurrency N]",
            ),
            Self::UnknownFlag(flag) => write!(f, "unknown argument {flag:?}"),
            Self::BadFlag { flag, expected } => write!(f, "{flag} must be {expected}"),
            Self::BadVariable { name, expected } => write!(f, "{name} must be {expected}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The flags, as text, before they are looked at.
#[derive(Default)]
struct Given {
    values: [Option<OsString>; FLAGS.len()],
}

/// Each flag and what its value must be.
const FLAGS: [(&str, &str); 8] = [
    ("--kind", "`static` or `script`"),
    ("--content", "an absolute path"),
    ("--digest", "`sha256:` and 64 lower-case hexadecimal digits"),
    ("--content-type", "a media type of at most 255 visible characters"),
    ("--file-name", "a file's name"),
    ("--timeout-ms", "a number of milliseconds from 1 to 3600000"),
    ("--output-bytes", "a number of bytes, at least 1"),
    ("--concurrency", "a number from 1 to 4096"),
];

impl Given {
    fn collect(mut args: impl Iterator<Item = OsString>) -> Result<Self, ConfigError> {
        if args.next().is_none_or(|first| first != "serve") {
            return Err(ConfigError::NotServe);
        }
        let mut given = Self::default();
        while let Some(flag) = args.next() {
            let Some(at) = FLAGS.iter().position(|(name, _)| flag == *name) else {
                return Err(ConfigError::UnknownFlag(flag.to_string_lossy().into_owned()));
            };
            let value = args.next().ok_or_else(|| bad(at))?;
            if given.values[at].replace(value).is_some() {
                return Err(ConfigError::BadFlag { flag: FLAGS[at].0, expected: "given once" });
            }
        }
        Ok(given)
    }

    fn text(&mut self, at: usize) -> Result<Option<String>, ConfigError> {
        self.values[at].take().map(|value| value.into_string().map_err(|_| bad(at))).transpose()
    }

    fn number(&mut self, at: usize, default: u64, most: u64) -> Result<u64, ConfigError> {
        let Some(text) = self.text(at)? else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(bad(at)),
        }
    }
}

impl Config {
    /// Reads the arguments after the program's name.
    ///
    /// The limits default to the ones a service has when nobody says otherwise.
    ///
    /// # Errors
    ///
    /// The first argument that is missing, unknown, repeated or out of range.
    pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, ConfigError> {
        Self::of(Given::collect(args)?)
    }

    /// Reads the same from variables: `--content-type` is `SHIPWAY_CONTENT_TYPE`. Those
    /// of other names are nobody's concern here.
    ///
    /// # Errors
    ///
    /// The first variable that is missing or out of range.
    pub fn from_environment<'a>(variables: impl Iterator<Item = &'a Variable>) -> Result<Self, ConfigError> {
        let mut given = Given::default();
        for (name, value) in variables {
            if let Some(at) = variable_at(name) {
                given.values[at] = Some(value.clone());
            }
        }
        Self::of(given).map_err(|error| match error {
            ConfigError::BadFlag { flag, expected } => ConfigError::BadVariable { name: variable_name(flag), expected },
            other => other,
        })
    }

    fn of(mut given: Given) -> Result<Self, ConfigError> {
        let kind = match given.text(0)?.as_deref() {
            Some("static") => Kind::Static,
            Some("script") => Kind::Script,
            _ => return Err(bad(0)),
        };
        let content = given.values[1].take().map(PathBuf::from);
        let digest = given.text(2)?.filter(|digest| is_digest(digest));
        let content_type = given.text(3)?;
        if content_type.as_deref().is_some_and(|text| !is_media_type(text)) {
            return Err(bad(3));
        }
        Ok(Self {
            kind,
            content: content.filter(|path| path.is_absolute()).ok_or_else(|| bad(1))?,
            digest: digest.ok_or_else(|| bad(2))?,
            content_type,
            file_name: given.text(4)?,
            timeout: Duration::from_millis(given.number(5, 30_000, 3_600_000)?),
            output_bytes: given.number(6, 64 << 20, u64::MAX)?,
            concurrency: usize::try_from(given.number(7, 32, 4096)?).unwrap_or(4096),
        })
    }
}

/// Whether a variable is the runner's own, and not for a script.
#[must_use]
pub fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"SHIPWAY_")
}

fn variable_at(name: &OsStr) -> Option<usize> {
    FLAGS.iter().position(|(flag, _)| name.to_str().is_some_and(|name| name == variable_name(flag)))
}

fn variable_name(flag: &str) -> String {
    format!("SHIPWAY{}", flag[1..].replace('-', "_").to_ascii_uppercase())
}

const fn bad(at: usize) -> ConfigError {
    ConfigError::BadFlag { flag: FLAGS[at].0, expected: FLAGS[at].1 }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Loose on purpose: what matters is that it cannot break out of its header line.
fn is_media_type(text: &str) -> bool {
    (3..=255).contains(&text.len()) && text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn parse(line: &str) -> Result<Config, String> {
        Config::parse(line.replace("$D", DIGEST).split(' ').map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_have_defaults_and_flags_come_in_any_order() {
        let config = parse("serve --digest $D --content /srv/content --kind script").unwrap();
        assert_eq!(config.kind, Kind::Script);
        assert_eq!(config.timeout, Duration::from_secs(30));
        assert_eq!(config.output_bytes, 64 << 20);
        assert_eq!(config.concurrency, 32);
    }

    #[test]
    fn variables_say_the_same() {
        let variables = |text: &str| {
            let pairs = text.replace("$D", DIGEST);
            let pairs: Vec<Variable> =
                pairs.split(' ').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect();
            Config::from_environment(pairs.iter()).map_err(|error| error.to_string())
        };
        let all = "SHIPWAY_KIND=script SHIPWAY_CONTENT=/c SHIPWAY_DIGEST=$D SHIPWAY_TIMEOUT_MS=7 KIND=static";
        assert_eq!(variables(all), parse("serve --kind script --content /c --digest $D --timeout-ms 7"));
        assert_eq!(variables("SHIPWAY_KIND=x").unwrap_err(), "SHIPWAY_KIND must be `static` or `script`");
        let missing = variables("SHIPWAY_KIND=script SHIPWAY_CONTENT=/c").unwrap_err();
        assert!(missing.starts_with("SHIPWAY_DIGEST must be"), "{missing}");
        assert!(is_ours("SHIPWAY_OUTPUT_BYTES".as_ref()) && !is_ours("SHIP".as_ref()));
    }

    #[test]
    fn a_mistake_names_its_flag() {
        let cases = [
            ("run", "usage: "),
            ("serve --kind nginx", "--kind must be"),
            ("serve --kind static --content x --digest $D", "--content must be"),
            ("serve --kind static --content /x --digest sha256:aa", "--digest must be"),
            ("serve --kind static --content /x --digest $D --timeout-ms 0", "--timeout-ms must be"),
            ("serve --kind static --kind static", "--kind must be given once"),
            ("serve --kind", "--kind must be"),
            ("serve --colour red", "unknown argument \"--colour\""),
            ("serve --kind static --content /x --digest $D --content-type a/b\r\nx:y", "--content-type must be"),
        ];
        for (line, expected) in cases {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }
}
