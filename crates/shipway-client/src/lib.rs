//! A typed client of the API, for the command line and the tests.
//!
//! # Entry points
//!
//! * [`Client::new`]`(`[`Address`]`, token)`: cheap; a connection is made per request.
//! * [`Client::deploy`], [`Client::services`], [`Client::logs`] and so on: one method
//!   per route.
//! * [`Client::exec`]: an [`Exec`], a process in a service's container.
//! * [`Error`]: whether the server could not be reached, refused with a
//!   [`Problem`](shipway_api_types::Problem), or answered what makes no sense.
//!
//! Speaks HTTP/1.1 to `http://host[:port]` and `unix:///path`. It reads no
//! environment, no file, and knows no terminal.

mod address;
mod builds;
mod connect;
mod error;
mod exec;
mod lines;
mod queue;
mod request;
mod routes;

pub use address::{Address, AddressError};
pub use builds::BuildQuery;
pub use error::Error;
pub use exec::{Exec, ExecInput, ExecOutput, ExecOutputs, ExecStart};
pub use lines::Lines;
pub use queue::TaskQuery;
pub use request::Client;
pub use routes::{Deployed, LogOptions, Waited};
