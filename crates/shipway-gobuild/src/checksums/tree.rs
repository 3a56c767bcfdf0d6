//! The tree of records (RFC 6962): what its hash must be if a record is in it.
//!
//! The hashes of complete subtrees come in tiles of height 8: tile `n` of level `l` holds the
//! hashes of up to 256 subtrees of 2^(8·l) records each, beginning with subtree `256·n`. They
//! need no proof of their own: if one were wrong, the sum would not be the signed one.

use std::fmt::Write as _;
use std::pin::Pin;

use sha2::{Digest as _, Sha256};

use super::{ChecksumError, Database};

/// A hash of a record or of two hashes.
pub(super) type Hash = [u8; 32];

/// Levels of the tree in one tile; the number is part of the protocol.
const HEIGHT: u32 = 8;
const WIDTH: u64 = 1 << HEIGHT;

/// A tile of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tile {
    level: u32,
    number: u64,
    /// Fewer than 256 at the tree's right edge.
    width: u64,
}

impl Tile {
    /// How many hashes it has.
    pub(super) fn width(self) -> usize {
        usize::try_from(self.width).expect("at most 256")
    }

    /// Its path at the database: `tile/8/0/x001/x234/067.p/5`.
    pub(super) fn path(self) -> String {
        let mut number = format!("{:03}", self.number % 1000);
        let mut rest = self.number / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let mut path = format!("tile/{HEIGHT}/{}/{number}", self.level);
        if self.width < WIDTH {
            write!(path, ".p/{}", self.width).expect("memory can be written to");
        }
        path
    }
}

/// The hash of a record.
pub(super) fn leaf(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The hash of a tree of `size` records if record `id` has the hash `leaf`.
pub(super) async fn root_with(id: u64, size: u64, leaf: Hash, database: &Database) -> Result<Hash, ChecksumError> {
    // From the whole down to the record: the halves that it is not in, and on which side they are.
    let (mut low, mut high, mut beside) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if id < middle {
            beside.push((middle, high, false));
            high = middle;
        } else {
            beside.push((low, middle, true));
            low = middle;
        }
    }
    let mut hash = leaf;
    for (low, high, is_left) in beside.into_iter().rev() {
        let other = range(low, high, size, database).await?;
        hash = if is_left { node(&other, &hash) } else { node(&hash, &other) };
    }
    Ok(hash)
}

/// The largest power of two that is less than `count`.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Hash, ChecksumError>> + Send + 'a>>;

/// The hash of records `low` to `high`, a half of a tree that was halved so.
fn range(low: u64, high: u64, size: u64, database: &Database) -> Asking<'_> {
    Box::pin(async move {
        let count = high - low;
        if count.is_power_of_two() {
            return stored(count.trailing_zeros(), low / count, size, database).await;
        }
        let middle = low + split(count);
        let (left, right) = (range(low, middle, size, database).await?, range(middle, high, size, database).await?);
        Ok(node(&left, &right))
    })
}

/// The hash of the complete subtree `number` of 2^`level` records.
fn stored(level: u32, number: u64, size: u64, database: &Database) -> Asking<'_> {
    Box::pin(async move {
        let above = level % HEIGHT;
        if above > 0 {
            let left = stored(level - 1, number * 2, size, database).await?;
            let right = stored(level - 1, number * 2 + 1, size, database).await?;
            return Ok(node(&left, &right));
        }
        let tile_level = level / HEIGHT;
        let complete = size >> level;
        let tile = number / WIDTH;
        let width = (complete - tile * WIDTH).min(WIDTH);
        let at = usize::try_from(number % WIDTH).expect("at most 255");
        database.hash(Tile { level: tile_level, number: tile, width }, at).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_where_the_protocol_says() {
        let path = |level, number, width| Tile { level, number, width }.path();
        assert_eq!(path(0, 5, 256), "tile/8/0/005");
        assert_eq!(path(1, 1_234_067, 256), "tile/8/1/x001/x234/067");
        assert_eq!(path(2, 1000, 7), "tile/8/2/x001/000.p/7");
    }

    #[test]
    fn trees_are_split_as_the_rfc_says() {
        assert_eq!([2, 3, 4, 5, 8, 9].map(split), [1, 2, 2, 4, 4, 8]);
    }
}
