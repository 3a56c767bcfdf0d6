//! The client of module proxies.
//!
//! A list of proxies is asked as the go command asks it: the next one is tried after *not found*
//! (404, 410) where a comma stands between two, after any failure where a `|` stands; a proxy
//! that says 403 has refused, and that ends it. There is no `direct`: no version control is ever
//! run, and a list that has nothing else is refused with these words.
//!
//! Proxies are the operator's choice, so any address may be asked; what they answer is not
//! trusted. Everything is bounded: bytes by what was asked for, time to connect, to the first
//! byte, between two and in all, redirects, and what of an answer is repeated in an error.
//!
//! Reading order: [`list`] (`GOPROXY`), [`question`] (what can be asked), [`Proxies`] (asking),
//! [`Body`] (the answer), [`ProxyError`].

mod body;
mod client;
mod error;
mod file;
mod http;
pub mod limits;
pub mod list;
pub mod question;

pub use body::Body;
pub(crate) use client::Piece;
pub use client::{Info, Proxies, ProxiesConfig};
pub use error::{Failure, ProxyError, Tried};
pub use limits::ProxyLimits;
pub use list::{ListError, ProxyList};
pub use question::{Question, Resource};
