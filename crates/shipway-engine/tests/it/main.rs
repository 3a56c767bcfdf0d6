//! Real containers on this host. Needs root and a static busybox at `/bin/busybox`
//! (`apt-get install -y busybox-static`).

#![expect(clippy::unwrap_used, reason = "a test says by panicking that something is wrong")]

mod exec;
mod life;
mod limits;
mod network;
mod outside;
mod prepare;
mod recovery;
mod roots;
mod seccomp;
mod world;
