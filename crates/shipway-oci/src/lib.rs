//! Images: what they are called, and how an archive becomes a tree and back.
//!
//! An archive is hostile. [`unpack`] reads one from front to back and writes what it
//! names through a directory handle that no path leads out of; what it will not take
//! it refuses by the word of a [`Rule`], so that a person knows which one and a test
//! can ask. What a tree *is* (its digest) is not decided here but by whoever keeps it.
//!
//! Reading order: [`name`] (what an image is called), [`rule`] and [`limits`] (what is
//! refused), `source` (bytes, bounded and unpacked from gzip or Zstandard), `head` (one
//! entry's meaning, pax and GNU extensions applied), `path` (where it may go), `tree`
//! (writing there), [`mod@unpack`] (the loop over all of it), [`mod@pack`] (a directory
//! becomes an archive).
//!
//! # Never
//!
//! * No symlink is followed, of the archive's or of the directory's.
//! * `tar` is asked what a head says, never to write a file.
//! * Nothing is kept in memory that an archive can make larger than its limits.

mod head;
pub mod limits;
pub mod name;
pub mod pack;
mod path;
pub mod rule;
mod source;
mod tree;
pub mod unpack;

pub use limits::UnpackLimits;
pub use name::{ImageName, ImageNameError};
pub use pack::{Packed, pack};
pub use rule::{Rule, UnpackError};
pub use unpack::{Unpacked, unpack};
