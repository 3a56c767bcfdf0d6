//! `shipway verify`.

use std::path::PathBuf;

use clap::Args;

/// `shipway verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
What stands beside FILE is used first: FILE.minisig, FILE.asc, FILE.sha256, FILE.provenance.json and
FILE.sbom.json. What is missing is asked of the server, by the digest of FILE.

Without --key, the public keys are the server's own: that trusts the server, and says so.

Exit codes:
  0  a good signature is of this file, and nothing contradicts it
  1  not so: no signature, a bad one, or something else says it is another file

Examples:
  shipway verify caddy
  shipway verify caddy --key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
  shipway verify caddy --key farm.pub --signature caddy.minisig --offline")]
pub struct VerifyArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A public key that you trust: of minisign, or armoured OpenPGP; itself or a file; may be repeated
    #[arg(long = "key", value_name = "KEY|FILE")]
    pub keys: Vec<String>,
    /// A signature of it, .minisig or .asc; may be repeated [default: those beside FILE, or the server's]
    #[arg(long = "signature", value_name = "FILE")]
    pub signatures: Vec<PathBuf>,
    /// Ask no server
    #[arg(long)]
    pub offline: bool,
}
