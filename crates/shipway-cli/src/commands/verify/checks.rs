//! The checks, and what follows from them all.

use std::fs::File;

use serde::Serialize;
use shipway_artifacts::sign::{PublicKey, SignError};

use super::Subject;
use super::papers::{Paper, Papers, Signature};
use super::told::{Parts, Provenance};
use crate::show::harmless;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It is of this file.
    Good,
    /// It is not.
    Bad,
    /// There was nothing to check it with.
    NotChecked,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// `signature`, `checksum`, `provenance`, `sbom`.
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    /// Who has what was checked.
    pub(super) from: String,
    /// Of a signature: its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    /// Of a good signature: the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// What the signer says, or what is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) said: String,
}

impl Check {
    /// For people.
    pub(super) fn line(&self) -> String {
        let word = match self.verdict {
            Verdict::Good => "good",
            Verdict::Bad => "BAD",
            Verdict::NotChecked => "not checked",
        };
        let kind = self.kind.map(|kind| format!("{kind}, ")).unwrap_or_default();
        let key = self.key.as_ref().map(|key| format!("  by {key}\n")).unwrap_or_default();
        let said = if self.said.is_empty() { String::new() } else { format!("  {}\n", shown(&self.said)) };
        format!("{}: {word} ({kind}{})\n{key}{said}", self.what, shown(&self.from))
    }
}

/// Safe to print, in one line.
pub(super) fn shown(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

/// All of them.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) checks: Vec<Check>,
    pub(super) provenance: Option<Provenance>,
    pub(super) parts: Option<Parts>,
}

impl Outcome {
    /// A good signature, and nothing that contradicts it.
    pub(super) fn is_verified(&self) -> bool {
        self.has_good_signature() && !self.is_contradicted()
    }

    /// Neither proved nor contradicted.
    pub(super) fn is_open(&self) -> bool {
        !self.has_good_signature() && !self.is_contradicted()
    }

    fn has_good_signature(&self) -> bool {
        self.checks.iter().any(|check| check.what == "signature" && check.verdict == Verdict::Good)
    }

    fn is_contradicted(&self) -> bool {
        self.checks.iter().any(|check| check.verdict == Verdict::Bad)
    }

    /// Why it is not verified.
    pub(super) fn reason(&self) -> String {
        let bad: Vec<String> = self.checks.iter().filter(|check| check.verdict == Verdict::Bad).map(reason).collect();
        let signed = self.checks.iter().any(|check| check.what == "signature");
        match (bad.is_empty(), signed) {
            (false, _) => bad.join("; "),
            (true, true) => "there is no key for the signature that there is".to_owned(),
            (true, false) => "nobody has a signature of it".to_owned(),
        }
    }
}

fn reason(check: &Check) -> String {
    format!("{} of {}: {}", check.what, shown(&check.from), shown(&check.said))
}

/// Makes every check.
pub(super) fn all(subject: &Subject, papers: &Papers, keys: &[PublicKey], file: File) -> Outcome {
    let mut checks: Vec<Check> = papers.signatures.iter().map(|one| signature(subject, one, keys, &file)).collect();
    checks.extend(papers.checksum.as_ref().map(|paper| plain("checksum", paper, checksum(subject, &paper.text))));
    let (mut provenance, mut parts) = (None, None);
    if let Some(paper) = &papers.provenance {
        let read = Provenance::read(&paper.text, subject);
        checks.push(plain("provenance", paper, read.as_ref().map(drop).map_err(Clone::clone)));
        provenance = read.ok();
    }
    if let Some(paper) = &papers.sbom {
        let read = Parts::read(&paper.text, subject);
        checks.push(plain("sbom", paper, read.as_ref().map(drop).map_err(Clone::clone)));
        parts = read.ok();
    }
    Outcome { checks, provenance, parts }
}

fn plain(what: &'static str, paper: &Paper, result: Result<(), String>) -> Check {
    let verdict = if result.is_ok() { Verdict::Good } else { Verdict::Bad };
    let said = result.err().unwrap_or_default();
    Check { what, verdict, from: paper.from.clone(), kind: None, key: None, said }
}

/// Good by any key of its kind; not checked when there is none, unless it was named.
fn signature(subject: &Subject, one: &Signature, keys: &[PublicKey], file: &File) -> Check {
    let mut check = Check {
        what: "signature",
        verdict: if one.is_named { Verdict::Bad } else { Verdict::NotChecked },
        from: one.paper.from.clone(),
        kind: Some(one.kind.word()),
        key: None,
        said: format!("there is no {} key to check it with", one.kind.word()),
    };
    for key in keys.iter().filter(|key| key.kind() == one.kind) {
        match key.verify(&one.paper.text, file).and_then(|said| agrees(said, subject)) {
            Ok(said) => {
                return Check { verdict: Verdict::Good, key: Some(key.name()), said, ..check };
            }
            Err(error) => {
                check.verdict = Verdict::Bad;
                check.said = error.to_string();
            }
        }
    }
    check
}

/// Ours say the digest as well; a signer who says another has signed something by mistake.
fn agrees(said: String, subject: &Subject) -> Result<String, SignError> {
    let other = said.split('\t').filter_map(|word| word.strip_prefix("sha256:")).any(|hex| hex != subject.sha256);
    if other { Err(SignError::Bad("what its signer says of it is of another file".to_owned())) } else { Ok(said) }
}

/// As `sha256sum` writes it: one line says this digest.
fn checksum(subject: &Subject, text: &str) -> Result<(), String> {
    let mut digests = text.lines().filter_map(|line| line.split_whitespace().next());
    let is_said = digests.any(|digest| digest.trim_start_matches('\\').eq_ignore_ascii_case(&subject.sha256));
    if is_said { Ok(()) } else { Err("it is of another file".to_owned()) }
}
