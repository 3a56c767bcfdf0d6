//! Minisign: the default, without any setting.
//!
//! The key has no password, because nobody is there to type it; it is protected by its mode
//! (0600). It is written aside and linked to its name, so that of several processes that start
//! at once all have the first one's.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};
use shipway_stdx::fs::{Durability, sync_folder, write_atomic};
use uuid::Uuid;

use super::SignError;
use crate::layout::Stored;

const SETTING: &str = "the minisign key";
/// Most bytes of a key or a signature that are looked at.
const TEXT_MAX: u64 = 16 << 10;
/// The end of a secret key.
const CHECKSUM_BYTES: usize = 32;

/// A key that signs.
pub(super) struct Minisign {
    secret: SecretKey,
    public: PublicKey,
    shown: String,
}

/// The crate shows a secret key's bytes; nobody else must.
impl fmt::Debug for Minisign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minisign").field("public", &self.shown).finish_non_exhaustive()
    }
}

impl Minisign {
    /// Opens the key in a file, which is made if need be, and shows its public half beside it.
    pub(super) fn open(path: &Path) -> Result<Self, SignError> {
        if let Err(error) = fs::metadata(path)
            && error.kind() == io::ErrorKind::NotFound
        {
            make(path)?;
        }
        let mut text = String::new();
        let file = File::open(path).map_err(|error| key(path, &error))?;
        file.take(TEXT_MAX).read_to_string(&mut text).map_err(|error| key(path, &error))?;
        let secret = read(&text).map_err(|error| key(path, &error))?;
        let public = PublicKey::from_secret_key(&secret).map_err(|error| key(path, &error))?;
        let shown = public.to_base64();
        let beside = with_suffix(path, ".pub");
        let whole = public.to_box().map_err(|error| key(path, &error))?.into_string();
        if fs::read_to_string(&beside).ok().as_ref() != Some(&whole) {
            write_atomic(&beside, whole.as_bytes(), 0o644, Durability::Power).map_err(|error| key(&beside, &error))?;
        }
        Ok(Self { secret, public, shown })
    }

    pub(super) fn public_key(&self) -> &str {
        &self.shown
    }

    pub(super) fn sign(&self, bytes: &mut dyn Read, name: &str, stored: &Stored) -> Result<String, SignError> {
        let said = format!("file:{name}\tsize:{}\tsha256:{}", stored.size_bytes, stored.digest.hex());
        let untrusted = Some("signature from shipway");
        let signature = minisign::sign(Some(&self.public), &self.secret, bytes, Some(&said), untrusted);
        signature.map(SignatureBox::into_string).map_err(|error| SignError::Read(io::Error::other(error)))
    }
}

/// Says whether a signature is of these bytes, made with the key whose public half is given (as
/// [`Signers::minisign_public_key`](super::Signers::minisign_public_key) has it, or as the file of it), and
/// returns what the signer said of them.
///
/// # Errors
///
/// [`SignError::Bad`].
pub fn verify(public_key: &str, signature: &str, bytes: impl Read + Seek) -> Result<String, SignError> {
    let bad = |error: minisign::PError| SignError::Bad(error.to_string());
    if signature.len() as u64 > TEXT_MAX || public_key.len() as u64 > TEXT_MAX {
        return Err(SignError::Bad("it is too long".to_owned()));
    }
    let public = read_public(public_key)?;
    let signature = SignatureBox::from_string(signature).map_err(bad)?;
    minisign::verify(&public, &signature, bytes, true, false, false).map_err(bad)?;
    signature.trusted_comment().map_err(bad)
}

/// A public key in the short form, whichever it is given in.
pub(super) fn public_key(text: &str) -> Result<String, SignError> {
    Ok(read_public(text)?.to_base64())
}

fn read_public(text: &str) -> Result<PublicKey, SignError> {
    let bad = |error: minisign::PError| SignError::Bad(error.to_string());
    match PublicKeyBox::from_string(text) {
        Ok(whole) if text.contains('\n') => whole.into_public_key().map_err(bad),
        _ => PublicKey::from_base64(text.trim()).map_err(bad),
    }
}

/// Makes a key. When somebody else makes one at the same time, the first stays.
/// Reads a key without a password: one of ours, or one that `minisign -GW` made, which leaves out the
/// checksum that a password is checked by.
fn read(text: &str) -> minisign::Result<SecretKey> {
    let of_minisign = || {
        let secret = SecretKey::from_bytes(&STANDARD.decode(text.lines().nth(1)?.trim()).ok()?).ok()?;
        let is_without = secret.to_bytes().ends_with(&[0; CHECKSUM_BYTES]);
        (is_without && !secret.is_encrypted()).then_some(secret)
    };
    let whole = SecretKeyBox::from_string(text).and_then(SecretKeyBox::into_unencrypted_secret_key);
    whole.or_else(|error| of_minisign().ok_or(error))
}

fn make(path: &Path) -> Result<(), SignError> {
    let pair = KeyPair::generate_unencrypted_keypair().map_err(|error| key(path, &error))?;
    let text = pair.sk.to_box(Some("shipway's minisign key, without a password"));
    let text = text.map_err(|error| key(path, &error))?.into_string();
    let aside = with_suffix(path, &format!(".{}.new", Uuid::new_v4()));
    let made = write(&aside, path, text.as_bytes());
    drop(fs::remove_file(&aside));
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(key(path, &error)),
        _ => Ok(()),
    }
}

fn write(aside: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::hard_link(aside, path)?;
    sync_folder(folder)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn key(path: &Path, error: &dyn std::error::Error) -> SignError {
    SignError::Key { setting: SETTING, reason: format!("{} cannot be used: {error}", path.display()) }
}
