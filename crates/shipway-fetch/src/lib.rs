//! Downloads a user's URL safely, and keeps content by what it is.
//!
//! The URL is a stranger's: it may name this host's own loopback, a metadata
//! service, a router's page, by number, by name, by redirect or by a name whose
//! answer changes between two looks. So Shipway fetches, not the container, and
//! connects only to addresses it has itself checked.
//!
//! Reading order: [`address`] (which addresses are anybody's to fetch from),
//! [`allow`] (what an operator exempts), [`resolve`] (names to addresses, once),
//! [`url_rules`](Fetcher::check), [`fetcher`] (one download, bounded in every
//! way), [`blobs`] (where it lands: files named by their digest).

pub mod address;
pub mod allow;
pub mod blobs;
mod connect;
mod error;
pub mod fetcher;
mod own;
mod read;
pub mod resolve;
mod url_rules;

pub use allow::{AllowError, AllowList};
pub use blobs::{Blob, BlobError, BlobWriter, Blobs, TouchedBlob};
pub use error::FetchError;
pub use fetcher::{FetchConfig, Fetcher, Timeouts};
pub use resolve::{Resolver, SystemResolver};
