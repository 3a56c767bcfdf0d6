//! The key of a checksum database, as `GOSUMDB` names it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Keys that the go command knows by the database's name alone: the name's hash, and the key.
/// The hash is over name and key, so that a wrong name cannot borrow a key.
const KNOWN: &[(&str, &str)] = &[("033de0ae", "Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")];
/// Ed25519, in the first byte of a key.
const ALGORITHM: u8 = 1;

/// Name and public key of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseKey {
    name: String,
    hash: [u8; 4],
    key: [u8; 32],
    url: String,
}

/// Why a `GOSUMDB` names no database.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// `off`: there is none.
    #[error("the checksum database is switched off")]
    Off,
    /// A name alone, and not one whose key is known.
    #[error("the key of the checksum database {0:?} is not known: write name+hash+key")]
    Unknown(String),
    /// Not `name+hash+key`, or they do not belong together.
    #[error("malformed key of a checksum database")]
    Malformed,
}

impl DatabaseKey {
    /// Reads a `GOSUMDB`: `name`, `name+hash+key`, either with a URL behind it.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut words = text.split_whitespace();
        let (key, url) = (words.next().unwrap_or_default(), words.next());
        if key == "off" || key.is_empty() {
            return Err(KeyError::Off);
        }
        let mut found = match key.splitn(3, '+').collect::<Vec<_>>()[..] {
            [name, hash, key] => Self::of(name, hash, key).ok_or(KeyError::Malformed)?,
            [name] => {
                let mut known = KNOWN.iter().filter_map(|(hash, key)| Self::of(name, hash, key));
                known.next().ok_or_else(|| KeyError::Unknown(crate::module::shown(name)))?
            }
            _ => return Err(KeyError::Malformed),
        };
        if let Some(url) = url {
            url.clone_into(&mut found.url);
        }
        Ok(found)
    }

    /// The database's name, which its signatures carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it can be asked directly.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn hash(&self) -> [u8; 4] {
        self.hash
    }

    /// Whether this is its signature of `text`.
    pub(super) fn signed(&self, text: &[u8], signature: &[u8]) -> bool {
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &self.key).verify(text, signature).is_ok()
    }

    fn of(name: &str, hash: &str, key: &str) -> Option<Self> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(sound) {
            return None;
        }
        let key = STANDARD.decode(key).ok()?;
        let bytes: [u8; 32] = key.strip_prefix(&[ALGORITHM])?.try_into().ok()?;
        let digest = Sha256::new().chain_update(name).chain_update("\n").chain_update(&key).finalize();
        let own: [u8; 4] = digest[..4].try_into().ok()?;
        let url = format!("https://{name}");
        (crate::key::hex(&own) == hash).then(|| Self { name: name.to_owned(), hash: own, key: bytes, url })
    }
}
