//! `OpenPGP`: for those who have a key that others know already.
//!
//! The key is a file that is configured, with its password. Of its parts the newest one that may sign, is
//! neither revoked nor expired, and opens with the password, signs; so an exported subkey without its primary key does. That there is
//! one is found out at the start, by signing something, not at the end of the first build.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

use pgp::composed::{ArmorOptions, Deserializable as _, DetachedSignature, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, KeyVersion, Password, SigningKey, Timestamp};

use super::{OpenPgpConfig, SignError};

const FILE: &str = "worker.signing.key_file";
const PASSWORD: &str = "worker.signing.key_password";
/// Most bytes of a key file.
const KEY_MAX: u64 = 1 << 20;

/// A key that signs.
pub(super) struct OpenPgp {
    key: SignedSecretKey,
    password: Password,
    /// Which part of it signs: a subkey by its place, or the primary key.
    part: Option<usize>,
    public: String,
}

impl fmt::Debug for OpenPgp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenPgp").field("key", &self.key.fingerprint()).finish_non_exhaustive()
    }
}

impl OpenPgp {
    pub(super) fn open(config: &OpenPgpConfig) -> Result<Self, SignError> {
        let key = read(config)?;
        let password = config.key_password.as_ref().map_or_else(Password::empty, |secret| secret.reveal().into());
        let public = key.to_public_key().to_armored_string(ArmorOptions::default());
        let public = public.map_err(|error| file(config, &error.to_string()))?;
        let parts = able(&key, SystemTime::now());
        if parts.is_empty() {
            return Err(file(config, "it has no part that may sign, or all are revoked or expired"));
        }
        let mut opened = Self { key, password, part: None, public };
        let mut reason = String::new();
        for part in parts {
            opened.part = part;
            match opened.sign(&mut &b"is it open?"[..]) {
                Ok(_) => {
                    opened.warn_of_rsa(config);
                    return Ok(opened);
                }
                Err(error) => reason = shown(&error),
            }
        }
        let given = if config.key_password.is_some() { "does not open" } else { "is missing for" };
        let reason = format!("it {given} the key in {} ({reason})", config.key_file.display());
        Err(SignError::Key { setting: PASSWORD, reason })
    }

    /// RUSTSEC-2023-0071: how long an RSA signature takes tells something of the key.
    fn warn_of_rsa(&self, config: &OpenPgpConfig) {
        let subkey = self.part.and_then(|at| self.key.secret_subkeys.get(at));
        let algorithm = subkey.map_or_else(|| self.key.primary_key.algorithm(), |subkey| subkey.key.algorithm());
        if algorithm == PublicKeyAlgorithm::RSA {
            let file = config.key_file.display();
            tracing::warn!(%file, "an RSA key signs: its signatures do not take constant time; an ed25519 key is better");
        }
    }

    pub(super) fn public_key(&self) -> &str {
        &self.public
    }

    /// An armoured detached signature.
    pub(super) fn sign(&self, bytes: &mut dyn Read) -> Result<String, SignError> {
        let signature = match self.part.and_then(|at| self.key.secret_subkeys.get(at)) {
            Some(subkey) => sign_with(&subkey.key, &self.password, bytes),
            None => sign_with(&self.key.primary_key, &self.password, bytes),
        };
        let armoured = signature
            .and_then(|signature| DetachedSignature::new(signature).to_armored_string(ArmorOptions::default()));
        armoured.map_err(|error| SignError::Read(std::io::Error::other(error.to_string())))
    }
}

fn sign_with(key: &impl SigningKey, password: &Password, bytes: &mut dyn Read) -> pgp::errors::Result<Signature> {
    let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    config.sign(key, password, bytes)
}

fn read(config: &OpenPgpConfig) -> Result<SignedSecretKey, SignError> {
    let opened = File::open(&config.key_file).map_err(|error| file(config, &error.to_string()))?;
    let mut bytes = Vec::new();
    opened.take(KEY_MAX).read_to_end(&mut bytes).map_err(|error| file(config, &error.to_string()))?;
    let (key, _) = SignedSecretKey::from_reader_single(bytes.as_slice())
        .map_err(|error| file(config, &format!("it is no OpenPGP secret key: {error}")))?;
    key.verify_bindings().map_err(|error| file(config, &format!("its parts do not belong together: {error}")))?;
    Ok(key)
}

/// The parts of a key that may sign now, the best first: subkeys, the newest first, then the primary key.
fn able(key: &SignedSecretKey, now: SystemTime) -> Vec<Option<usize>> {
    let primary = key.primary_key.public_key();
    let of_users = key.details.users.iter().flat_map(|user| &user.signatures);
    let about: Vec<&Signature> = of_users.chain(&key.details.direct_signatures).collect();
    let revoked = !key.details.revocation_signatures.is_empty();
    // What the primary key is no longer, none of its parts is.
    if revoked || primary.version() != KeyVersion::V4 || !is_alive(primary.created_at(), &about, now) {
        return Vec::new();
    }
    let mut parts: Vec<(Timestamp, Option<usize>)> = Vec::new();
    for (at, subkey) in key.secret_subkeys.iter().enumerate() {
        let about: Vec<&Signature> = subkey.signatures.iter().collect();
        if may_sign(&about) && is_alive(subkey.key.created_at(), &about, now) {
            parts.push((subkey.key.created_at(), Some(at)));
        }
    }
    parts.sort_by(|one, other| other.cmp(one));
    let mut parts: Vec<Option<usize>> = parts.into_iter().map(|(_, part)| part).collect();
    parts.extend(may_sign(&about).then_some(None));
    parts
}

/// What the newest of its signatures that speaks of it says.
fn newest<'a>(about: &[&'a Signature]) -> Option<&'a Signature> {
    about.iter().copied().max_by_key(|signature| signature.created())
}

pub(super) fn may_sign(about: &[&Signature]) -> bool {
    newest(about).is_some_and(|signature| signature.key_flags().sign())
}

/// Whether a part is neither revoked nor expired.
pub(super) fn is_alive(created: Timestamp, about: &[&Signature], now: SystemTime) -> bool {
    let revokes = |signature: &&&Signature| {
        matches!(
            signature.typ(),
            Some(SignatureType::KeyRevocation | SignatureType::SubkeyRevocation | SignatureType::CertRevocation)
        )
    };
    let age = now.duration_since(created.into()).unwrap_or_default();
    let lives = newest(about).and_then(Signature::key_expiration_time);
    let expired = lives.is_some_and(|lives| lives.as_secs() > 0 && age.as_secs() >= u64::from(lives.as_secs()));
    about.iter().find(revokes).is_none() && !expired
}

fn file(config: &OpenPgpConfig, reason: &str) -> SignError {
    SignError::Key { setting: FILE, reason: format!("{}: {reason}", config.key_file.display()) }
}

/// An error with its cause.
fn shown(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
