//! Egress `internet` in a fake internet: network namespaces of the tests' own, whose
//! packets never leave them.

mod allow;
mod crash;
mod firewall;
mod limits;
mod names;
mod reach;
mod refuse;
mod world;
