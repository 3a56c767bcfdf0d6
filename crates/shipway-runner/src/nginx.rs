//! The other way to serve: real nginx and fcgiwrap, with this program around them.
//!
//! ```text
//!   runner nginx (first process: reaps, forwards SIGTERM, starts fcgiwrap again)
//!     ├── nginx, master and one worker      holds the listening socket
//!     └── fcgiwrap, one for each seat       holds a socket that only nginx may open
//!           └── shipway-cgi (this program)  one for each request
//!                 └── the script
//! ```
//!
//! [`init`] is the first process: it reads its configuration from the environment,
//! writes nginx's ([`conf`]) into the container's own tmpfs ([`home`]) and starts the
//! others. No byte of a visitor passes through it. [`wrapper`] is what fcgiwrap runs in
//! a script's place, because fcgiwrap knows neither exit status nor time limit, nor what
//! a script leaves behind.
//!
//! # Who is kept from whom
//!
//! Where there is a script, the first process is the container's root with the three
//! capabilities it takes to start the others as somebody else; nginx is one user,
//! fcgiwrap and scripts are another, and none of those has a capability. So a script can
//! neither signal nor trace nginx or the first process, nor open the socket between
//! nginx and fcgiwrap; nor read or change the memory of fcgiwrap and the wrappers, which
//! are its own user but hidden. It can kill fcgiwrap and the wrappers: then the requests at work
//! are 502s, and the first process starts fcgiwrap again. [`watch`] ends a wrapper that
//! a script has stopped.

pub mod conf;
pub mod home;
pub mod init;
pub mod watch;
pub mod wrapper;

/// The name by which this program is a wrapper.
pub const WRAPPER: &str = "shipway-cgi";

/// The variable that names the folder for what is made at the start.
pub const HOME: &str = "SHIPWAY_HOME";

/// The variable that names a folder of the script's own, which is handed over to it.
pub const DATA: &str = "SHIPWAY_DATA";

/// The wrapper's: number of the descriptor that is the container's log.
pub const LOG: &str = "SHIPWAY_LOG";
