//! Signatures: who has the public key knows that an artifact is ours.
//!
//! Every artifact has a minisign one (ed25519 over `BLAKE2b`), which needs no setting: the key is made at the
//! first start. When an `OpenPGP` key is configured, it has an armoured detached one, too (the form of the Caddy
//! build server). What is signed is compared with the digest it is kept under, so that
//! a signature and an artifact that stand side by side are of the same bytes.

mod checked;
mod minisign;
mod openpgp;
mod public;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_model::Digest;

pub use minisign::verify;
pub use public::{PublicKey, SignatureKind};

use crate::config::Secret;
use crate::layout::Stored;
use checked::Checked;
use minisign::Minisign;
use openpgp::OpenPgp;

/// Most letters of a name that is signed.
const NAME_MAX: usize = 255;

/// What signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningConfig {
    /// The file of the minisign key, made if it is not there (mode 0600); the public key is beside it, with `.pub`.
    /// Workers on several machines must be given the same one.
    pub minisign_key: PathBuf,
    /// `worker.signing`, when it is enabled.
    pub openpgp: Option<OpenPgpConfig>,
}

/// An `OpenPGP` key (`worker.signing`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpConfig {
    /// `key_file`: a secret key as `gpg --export-secret-keys` writes it, armoured or not.
    pub key_file: PathBuf,
    /// `key_password`.
    pub key_password: Option<Secret>,
}

/// Why nothing was signed, or a signature is not good.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A key cannot be used; changing the setting helps, trying again does not.
    #[error("{setting}: {reason}")]
    Key {
        /// The setting to look at.
        setting: &'static str,
        /// In words.
        reason: String,
    },
    /// What was to be signed cannot be read.
    #[error("what is to be signed cannot be read")]
    Read(#[source] std::io::Error),
    /// What was to be signed is not the artifact that was named.
    #[error("what is to be signed is not {0}")]
    Other(Digest),
    /// A name that cannot stand in a signature.
    #[error("a file name has 1 to {NAME_MAX} printable letters and no slash")]
    Name,
    /// A signature or public key that is none, or that is not of these bytes.
    #[error("the signature is not good: {0}")]
    Bad(String),
}

/// The signatures of one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// The text of the `.minisig` file.
    pub minisign: String,
    /// The text of the `.asc` file, when a key is configured.
    pub openpgp: Option<String>,
}

/// The keys, open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signers {
    minisign: Arc<Minisign>,
    openpgp: Option<Arc<OpenPgp>>,
}

impl Signers {
    /// Opens the keys, and makes the minisign one if there is none.
    ///
    /// # Errors
    ///
    /// [`SignError::Key`] names the setting of a key that is missing, locked, expired, or cannot sign.
    pub async fn open(config: &SigningConfig) -> Result<Self, SignError> {
        let config = config.clone();
        blocking(move || {
            let openpgp = config.openpgp.as_ref().map(OpenPgp::open).transpose()?.map(Arc::new);
            Ok(Self { minisign: Arc::new(Minisign::open(&config.minisign_key)?), openpgp })
        })
        .await
    }

    /// Signs a local file that is kept as `stored`. The signature of the minisign kind also says the name (what
    /// people will call it, not its path), size and digest.
    ///
    /// # Errors
    ///
    /// Each [`SignError`] but [`SignError::Bad`].
    pub async fn sign(&self, file: &Path, name: &str, stored: &Stored) -> Result<Signatures, SignError> {
        let (signers, file) = (self.clone(), file.to_owned());
        let (name, stored) = (signed_name(name)?.to_owned(), stored.clone());
        blocking(move || {
            let open = || std::fs::File::open(&file).map_err(SignError::Read);
            let minisign = checked(open()?, &stored, |bytes| signers.minisign.sign(bytes, &name, &stored))?;
            let openpgp = signers.openpgp.as_ref();
            let openpgp = openpgp.map(|key| checked(open()?, &stored, |bytes| key.sign(bytes))).transpose()?;
            Ok(Signatures { minisign, openpgp })
        })
        .await
    }

    /// The public key of the minisign kind, as `minisign -P` takes it.
    #[must_use]
    pub fn minisign_public_key(&self) -> &str {
        self.minisign.public_key()
    }

    /// The armoured public key of the `OpenPGP` kind, as `gpg --import` takes it.
    #[must_use]
    pub fn openpgp_public_key(&self) -> Option<&str> {
        self.openpgp.as_deref().map(OpenPgp::public_key)
    }
}

/// The text of the `.sha256` file: what `sha256sum -c` reads.
///
/// # Errors
///
/// [`SignError::Name`].
pub fn checksum(digest: &Digest, name: &str) -> Result<String, SignError> {
    Ok(format!("{}  {}\n", digest.hex(), signed_name(name)?))
}

/// A name that cannot break out of its line.
fn signed_name(name: &str) -> Result<&str, SignError> {
    let fits = (1..=NAME_MAX).contains(&name.chars().count());
    let plain = !name.chars().any(|letter| letter.is_control() || letter == '/' || letter == '\\');
    if fits && plain { Ok(name) } else { Err(SignError::Name) }
}

/// Signs what is read, and looks whether that was what was meant.
fn checked(
    file: impl Read,
    stored: &Stored,
    sign: impl FnOnce(&mut dyn Read) -> Result<String, SignError>,
) -> Result<String, SignError> {
    let mut bytes = Checked::new(file);
    let signature = sign(&mut bytes)?;
    if bytes.finish() == (stored.digest.clone(), stored.size_bytes) {
        return Ok(signature);
    }
    Err(SignError::Other(stored.digest.clone()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SignError> + Send + 'static,
) -> Result<T, SignError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SignError::Read(std::io::Error::other(error))),
    }
}
