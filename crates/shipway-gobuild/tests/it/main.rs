//! Against the real go command and real sockets: what only they can show.

mod building;
mod plugins;
mod resolution;
mod support;
