//! The other half of [`Signers`](super::Signers): a public key that somebody has, and what it says of a
//! signature and some bytes. All three come from strangers.

use std::io::{self, Read, Seek, SeekFrom};

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails as _, KeyVersion};

use super::openpgp::{is_alive, may_sign};
use super::{SignError, minisign};

/// Most bytes of a key or signature; a key that many people have certified is large.
const TEXT_MAX: usize = 1 << 20;
const OPENPGP_KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const OPENPGP_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// The kinds of signatures there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// `.minisig`.
    Minisign,
    /// `.asc`.
    OpenPgp,
}

impl SignatureKind {
    /// Which of them a text claims to be.
    #[must_use]
    pub fn of(signature: &str) -> Self {
        if signature.trim_start().starts_with(OPENPGP_SIGNATURE) { Self::OpenPgp } else { Self::Minisign }
    }

    /// As people call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Minisign => "minisign",
            Self::OpenPgp => "OpenPGP",
        }
    }
}

/// A public key of either kind.
#[derive(Debug, Clone)]
pub struct PublicKey(Key);

#[derive(Debug, Clone)]
enum Key {
    /// As [`minisign::verify`] takes it.
    Minisign(String),
    OpenPgp(Box<SignedPublicKey>),
}

impl PublicKey {
    /// Reads a key: of the minisign kind as `minisign -P` takes it or as the file of it, of the `OpenPGP`
    /// kind armoured.
    ///
    /// # Errors
    ///
    /// [`SignError::Bad`].
    pub fn parse(text: &str) -> Result<Self, SignError> {
        if text.len() > TEXT_MAX {
            return Err(SignError::Bad("the key is too long".to_owned()));
        }
        if !text.trim_start().starts_with(OPENPGP_KEY) {
            return Ok(Self(Key::Minisign(minisign::public_key(text)?)));
        }
        let bad = |error: pgp::errors::Error| SignError::Bad(format!("it is no OpenPGP public key: {error}"));
        let (key, _) = SignedPublicKey::from_string(text.trim_start()).map_err(bad)?;
        key.verify_bindings().map_err(bad)?;
        Ok(Self(Key::OpenPgp(Box::new(key))))
    }

    /// What it checks.
    #[must_use]
    pub const fn kind(&self) -> SignatureKind {
        match &self.0 {
            Key::Minisign(_) => SignatureKind::Minisign,
            Key::OpenPgp(_) => SignatureKind::OpenPgp,
        }
    }

    /// How people compare it: the key itself, or its fingerprint.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.0 {
            Key::Minisign(key) => key.clone(),
            Key::OpenPgp(key) => key.primary_key.fingerprint().to_string(),
        }
    }

    /// Says whether a signature is of these bytes and by this key, and returns what the signer says of them;
    /// one of the `OpenPGP` kind says nothing.
    ///
    /// # Errors
    ///
    /// [`SignError::Bad`]; [`SignError::Read`] when the bytes cannot be read.
    pub fn verify(&self, signature: &str, bytes: impl Read + Seek) -> Result<String, SignError> {
        if signature.len() > TEXT_MAX {
            return Err(SignError::Bad("the signature is too long".to_owned()));
        }
        match &self.0 {
            Key::Minisign(key) => minisign::verify(key, signature, bytes),
            Key::OpenPgp(key) => openpgp(key, signature, bytes).map(|()| String::new()),
        }
    }
}

fn openpgp(key: &SignedPublicKey, signature: &str, mut bytes: impl Read + Seek) -> Result<(), SignError> {
    let bad = |reason: &str| Err(SignError::Bad(reason.to_owned()));
    let parsed = DetachedSignature::from_string(signature.trim_start());
    let (DetachedSignature { signature }, _) =
        parsed.map_err(|error| SignError::Bad(format!("it is no OpenPGP signature: {error}")))?;
    if signature.typ() != Some(SignatureType::Binary) {
        return bad("it is not of a file's bytes");
    }
    let strong = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    let strong = signature.hash_alg().is_some_and(|hash| {
        strong.contains(&hash) || matches!(hash, HashAlgorithm::Sha3_256 | HashAlgorithm::Sha3_512)
    });
    if !strong {
        return bad("its hash is too weak");
    }
    let Some(made) = signature.created() else { return bad("it does not say when it was made") };
    let made = made.into();
    let about: Vec<&Signature> =
        key.details.users.iter().flat_map(|user| &user.signatures).chain(&key.details.direct_signatures).collect();
    let is_whole = key.details.revocation_signatures.is_empty() && key.primary_key.version() == KeyVersion::V4;
    if !is_whole || !is_alive(key.primary_key.created_at(), &about, made) {
        return bad("the key was revoked, or had expired when it was made");
    }
    if may_sign(&about) && verified(&signature, &key.primary_key, &mut bytes)? {
        return Ok(());
    }
    for subkey in &key.public_subkeys {
        let about: Vec<&Signature> = subkey.signatures.iter().collect();
        let may = may_sign(&about) && is_alive(subkey.key.created_at(), &about, made);
        if may && verified(&signature, &subkey.key, &mut bytes)? {
            return Ok(());
        }
    }
    bad("it is not of these bytes, or not by this key")
}

/// Whether one part of a key made it. That it did not is no error, but that nothing can be read is.
fn verified(
    signature: &Signature,
    key: &impl pgp::types::VerifyingKey,
    bytes: &mut (impl Read + Seek),
) -> Result<bool, SignError> {
    bytes.seek(SeekFrom::Start(0)).map_err(SignError::Read)?;
    let mut reading = Watched { bytes, failed: None };
    let is_good = signature.verify(key, &mut reading).is_ok();
    match reading.failed {
        Some(kind) => Err(SignError::Read(kind.into())),
        None => Ok(is_good),
    }
}

/// Remembers that reading failed: the library says only that the signature is not good.
struct Watched<'a, R> {
    bytes: &'a mut R,
    failed: Option<io::ErrorKind>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into);
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.failed = Some(error.kind());
        }
        read
    }
}
