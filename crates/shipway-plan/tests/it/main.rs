//! Every small world there is, and stories a person can read.

#[cfg(test)]
mod hands;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod small_worlds;
