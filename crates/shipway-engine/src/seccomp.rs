//! The system calls a container may make, as a program for the kernel.
//!
//! [`policy`] is an allow-list by name; [`bpf`] turns it into a balanced tree of
//! intervals over the call's number, which the kernel walks in seven or eight
//! steps where a list takes hundreds (43 µs against 300 µs to install, and less
//! on every call after). A few calls are judged by their arguments too: making
//! namespaces, talking to kernel subsystems over sockets, typing into terminals.
//!
//! Seccomp cannot look behind a pointer, so `clone3`, whose flags lie there,
//! answers `ENOSYS` and C libraries fall back to `clone`.
//!
//! x86-64 only: numbers of the 32-bit ABI end the process, x32's answer `ENOSYS`.

mod bpf;
mod policy;
#[cfg(test)]
mod tests;

/// Returns the filter of every program in a container as the kernel takes it: `struct
/// sock_filter` after `struct sock_filter`, at most 4096 of them.
#[must_use]
pub fn program() -> Vec<u8> {
    bpf::assemble(&policy::rules()).iter().flat_map(|instruction| instruction.bytes()).collect()
}
