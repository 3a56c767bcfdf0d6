//! Against the real go command and real sockets: what only they can show.

mod resolution;
mod support;
