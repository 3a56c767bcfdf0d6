//! Connections to servers outside: module proxies, S3, what a URL leads to.
//!
//! Whom we trust is said in one place ([`trusting`]): the host's CA bundle, so that a company's own CA
//! is believed wherever the host believes it, or a file instead. [`Connector`] opens connections for
//! hyper's client by a URL's scheme.
//!
//! Which addresses may be connected to is not decided here: what a user names is dialled by `shipway-fetch`.

mod connector;
mod trust;
mod wire;

pub use connector::Connector;
pub use trust::{is_distrust, trusting};
pub use wire::Wire;
