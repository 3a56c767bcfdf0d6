//! `shipway verify`: whether a file is what the farm has made and signed.
//!
//! ```text
//! FILE ─► digest ─► papers: beside FILE, else of the server ─► checks ─► verdict
//!                   keys:   given with --key, else of the server
//! ```
//!
//! Good is a file with a good signature that nothing contradicts: neither another signature,
//! nor a checksum, nor provenance or list of parts of another file. Only the signature proves anything;
//! who holds the key vouches for the file, not for what the papers tell of it, so where those
//! come from is said with each.

mod checks;
mod papers;
mod told;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shipway_artifacts::sign::PublicKey;
use shipway_client::{Client, Error};
use shipway_stdx::chain;

use super::Context;
use crate::args::VerifyArgs;
use crate::failure::{DONE, Failure};
use crate::show::harmless;
use crate::units;
use checks::Check;
use papers::Papers;
use told::{Parts, Provenance};

/// Read at once.
const PIECE: usize = 1 << 16;
/// Most bytes of a key or paper: lists of parts are the longest.
pub(super) const TEXT_MAX: u64 = 8 << 20;

/// The file, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    /// Hexadecimal SHA-256.
    sha256: String,
    size_bytes: u64,
}

/// What came out, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    digest: String,
    size_bytes: u64,
    is_verified: bool,
    /// `keys given` or `the server`.
    trusts: &'static str,
    checks: &'a [Check],
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<&'a Provenance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sbom: Option<&'a Parts>,
}

pub(super) async fn verify(context: &mut Context, args: VerifyArgs) -> Result<u8, Failure> {
    let pinned = args.keys.iter().map(|key| pinned(key)).collect::<Result<Vec<_>, _>>()?;
    let subject = measured(&args.file).await?;
    let mut papers = Papers::beside(&args.file, &args.signatures)?;
    let client = if args.offline { None } else { Some(context.client()?) };
    let mut unheard = None;
    if let Some(client) = client.as_ref().filter(|_| papers.is_incomplete()) {
        let asked = papers.complete(client, &subject.sha256).await;
        unheard = asked.err();
    }
    let is_pinned = !pinned.is_empty();
    let keys = match client.filter(|_| !is_pinned) {
        Some(client) => of_server(&client).await.unwrap_or_else(|error| {
            unheard = Some(error);
            Vec::new()
        }),
        None => pinned,
    };
    let outcome = checks::all(&subject, &papers, &keys, open(&args.file)?);
    if let Some(error) = unheard.take_if(|_| outcome.is_open()) {
        // Nothing is known to be wrong; whoever could have told was not to be reached.
        return Err(error.into());
    }
    if let Some(error) = unheard {
        context.note(&format!("note: the server could not be asked for what is not here: {}", chain(&error)));
    }
    tell(context, &args.file, &subject, &outcome, is_pinned)
}

/// A key that was given, itself or as a file.
fn pinned(given: &str) -> Result<PublicKey, Failure> {
    let path = Path::new(given);
    let text = if path.is_file() { papers::read(path)? } else { given.to_owned() };
    PublicKey::parse(&text).map_err(|error| Failure::Usage(format!("--key {}: {error}", harmless(given))))
}

/// The server's own keys; trusted as far as the server is.
async fn of_server(client: &Client) -> Result<Vec<PublicKey>, Error> {
    let keys = client.signing_keys().await?;
    let texts = [keys.minisign, keys.openpgp].into_iter().flatten();
    texts
        .map(|text| {
            PublicKey::parse(&text).map_err(|error| Error::Nonsense(format!("a public key that is none: {error}")))
        })
        .collect()
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unread(path, error))
}

fn unread(path: &Path, error: std::io::Error) -> Failure {
    Failure::Io(format!("cannot read {}", path.display()), error)
}

async fn measured(path: &Path) -> Result<Subject, Failure> {
    let mut file = open(path)?;
    let measuring = tokio::task::spawn_blocking(move || {
        let (mut digest, mut size_bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => {
                    digest.update(&piece[..read]);
                    size_bytes += read as u64;
                }
            }
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Subject { sha256, size_bytes })
    });
    let measured = measuring.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    measured.map_err(|error| unread(path, error))
}

fn tell(
    context: &mut Context,
    file: &Path,
    subject: &Subject,
    outcome: &checks::Outcome,
    is_pinned: bool,
) -> Result<u8, Failure> {
    let is_verified = outcome.is_verified();
    let digest = format!("sha256:{}", subject.sha256);
    if context.globals.json {
        context.print_json(&Report {
            file: file.display().to_string(),
            digest,
            size_bytes: subject.size_bytes,
            is_verified,
            trusts: if is_pinned { "keys given" } else { "the server" },
            checks: &outcome.checks,
            provenance: outcome.provenance.as_ref(),
            sbom: outcome.parts.as_ref(),
        })?;
    } else if !context.globals.quiet {
        let mut text = format!("{}: {digest} ({})\n", file.display(), units::size(subject.size_bytes));
        outcome.checks.iter().for_each(|check| text.push_str(&check.line()));
        text.push_str(&outcome.provenance.as_ref().map(Provenance::lines).unwrap_or_default());
        text.push_str(&outcome.parts.as_ref().map(Parts::line).unwrap_or_default());
        context.print(&text)?;
    }
    if !is_verified {
        let text = format!("{} is not verified: {}", file.display(), outcome.reason());
        return Err(Failure::Said(text, Some("do not run it; --help tells what was looked for".to_owned())));
    }
    if !is_pinned {
        context
            .note("note: the key is the server's own, so this trusts the server; --key KEY trusts a key that you know");
    }
    context.note(&format!("{} is verified", file.display()));
    Ok(DONE)
}
