//! API tokens' secrets: how one is made, and what one looks like.
//!
//! `shipway_` + 32 letters and digits from the kernel's randomness (190 bits) +
//! 6 check letters. The prefix lets a scanner find a leaked one; the check
//! letters let us refuse a mistyped one without asking the store. The store only
//! ever sees the SHA-256: with this much randomness a slow hash adds nothing, and
//! the look-up by hash leaves no comparison whose time could tell anything.

use std::fmt;

use sha2::{Digest as _, Sha256};

const PREFIX: &str = "shipway_";
const RANDOM_LETTERS: usize = 32;
const CHECK_LETTERS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The secret of an API token. Its debug form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// The kernel gives no randomness.
    pub fn mint() -> std::io::Result<Self> {
        let mut body = String::with_capacity(RANDOM_LETTERS);
        while body.len() < RANDOM_LETTERS {
            let mut bytes = [0; 64];
            let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
            // 248 is the largest multiple of 62 in a byte: taking only what is
            // below keeps every letter equally likely.
            let fair = bytes[..filled].iter().filter(|byte| **byte < 248);
            body.extend(
                fair.take(RANDOM_LETTERS - body.len()).map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
            );
        }
        let check = check_letters(&body);
        Ok(Self(format!("{PREFIX}{body}{check}")))
    }

    /// Reads one; `None` when it cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain || rest.len() != RANDOM_LETTERS + CHECK_LETTERS {
            return None;
        }
        let (body, check) = rest.split_at(RANDOM_LETTERS);
        (check_letters(body) == check).then(|| Self(text.to_owned()))
    }

    /// What the store keeps of it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The secret itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(shipway_…)")
    }
}

fn check_letters(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    digest[..CHECK_LETTERS].iter().map(|byte| char::from(ALPHABET[usize::from(byte % 62)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_no_two_are_alike() {
        let (one, other) = (Secret::mint().unwrap(), Secret::mint().unwrap());
        assert_ne!(one, other);
        assert_eq!(Secret::parse(one.reveal()), Some(one.clone()));
        assert_eq!(one.reveal().len(), 46);
    }

    #[test]
    fn a_mistyped_secret_is_refused_without_the_store() {
        let secret = Secret::mint().unwrap();
        let text = secret.reveal();
        let swapped = if text.as_bytes()[10] == b'a' { "b" } else { "a" };
        let mut mistyped = text.to_owned();
        mistyped.replace_range(10..11, swapped);
        for wrong in ["", "shipway_", &text[1..], &text[..45], &mistyped, "Bearer x"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn debug_output_tells_nothing() {
        let secret = Secret::mint().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(shipway_…)");
    }
}
