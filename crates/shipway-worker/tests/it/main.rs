//! The worker with a real store, real sockets and a real fetcher; only the
//! containers are entries of a map.

#[cfg(test)]
mod changes;
#[cfg(test)]
mod cuts;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod deploys;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod streams;
