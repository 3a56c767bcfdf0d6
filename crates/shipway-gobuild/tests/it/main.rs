//! Against the real go command and real sockets: what only they can show.

#[cfg(test)]
mod building;
#[cfg(test)]
mod checksums;
#[cfg(test)]
mod plugins;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod random;
#[cfg(test)]
mod resolution;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
