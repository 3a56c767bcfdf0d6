//! Against the real go command and real sockets: what only they can show.

mod building;
mod checksums;
mod plugins;
mod proxies;
mod resolution;
mod server;
mod support;
