//! A script that runs once for every request, told what is asked as RFC 3875 says.
//!
//! [`environment`] says what the script is told, [`program`] what is executed,
//! [`header`] reads what it says before its output. All pure; the server does
//! the running.
//!
//! Two things the standard leaves open are decided so: the query is never turned
//! into arguments (§4.4; that was a hole in more than one interpreter), and an
//! answer is never passed through unparsed (§5, `nph-`).

pub mod environment;
pub mod header;
pub mod program;
