//! An answer of the database: a record, and the signed head of the tree it is in.
//!
//! ```text
//! 50847745                                      the record's number
//! example.com/a v1.0.0 h1:…=                    the record
//! example.com/a v1.0.0/go.mod h1:…=
//!
//! go.sum database tree                          the head: what is signed
//! 66398721                                      how many records it has
//! 5oXT…=                                        its hash
//!
//! — name Az3g…=                                 signatures
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ChecksumError;
use super::key::DatabaseKey;
use super::tree::Hash;

const HEAD: &str = "go.sum database tree";
/// Most records a tree may claim: a proof has as many steps as this has bits.
const RECORDS_MAX: u64 = 1 << 48;

/// A record and the head of its tree, its signature checked.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) id: u64,
    pub(super) text: &'a str,
    pub(super) size: u64,
    pub(super) root: Hash,
}

impl<'a> Record<'a> {
    /// Reads an answer and checks its signature.
    pub(super) fn parse(answer: &'a str, key: &DatabaseKey) -> Result<Self, ChecksumError> {
        let unproved = |why| move || ChecksumError::Unproved(why);
        let (id, rest) = answer.split_once('\n').ok_or_else(unproved("it has no record"))?;
        // The record keeps the newline of its last line; the blank line is the border.
        let border = rest.find("\n\n").ok_or_else(unproved("it has no head of a tree"))?;
        let (text, note) = (&rest[..=border], &rest[border + 2..]);
        let head = note.find("\n\n").map(|end| &note[..=end]).ok_or_else(unproved("its head is not signed"))?;
        check_signature(head, &note[head.len() + 1..], key)?;
        let mut lines = head.lines();
        let (name, size, root) = (lines.next(), lines.next(), lines.next());
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).filter(|it| *it <= RECORDS_MAX);
        let root = root.and_then(|root| STANDARD.decode(root).ok()).and_then(|root| root.try_into().ok());
        match (name, number(Some(id)), number(size), root) {
            (Some(HEAD), Some(id), Some(size), Some(root)) if id < size => Ok(Self { id, text, size, root }),
            _ => Err(ChecksumError::Unproved("its head is malformed")),
        }
    }
}

/// One of the signatures must be the database's; others may be anybody's.
fn check_signature(head: &str, signatures: &str, key: &DatabaseKey) -> Result<(), ChecksumError> {
    let own = signatures.lines().filter_map(|line| {
        let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = STANDARD.decode(signature).ok().filter(|_| name == key.name())?;
        bytes.strip_prefix(&key.hash()).map(<[u8]>::to_vec)
    });
    let mut own = own;
    if own.any(|signature| key.signed(head.as_bytes(), &signature)) {
        Ok(())
    } else {
        Err(ChecksumError::Unproved("its head is not signed by the database"))
    }
}
