//! The launcher and the shim: one small static program.
//!
//! `shipway-shim launcher` waits for launches ([`launcher`]); for each it forks a
//! shim ([`shim`]), which makes a container by its own system calls ([`container`])
//! and stays beside it: writes its log ([`log`]), answers questions about it
//! ([`control`], [`exec`]), dials into it ([`dialer`]), and records how it ended
//! ([`status`]). It is single-threaded, so that forking is always safe, and uses no
//! more than `core` and `alloc`, so that it is small ([`bare`] says how).
//!
//! What it is told and what it leaves on disk is in the library, `protocol`.

#![cfg_attr(panic = "abort", no_std)]
#![cfg_attr(panic = "abort", no_main)]

extern crate alloc;

#[cfg(panic = "abort")]
mod bare;
mod container;
mod control;
mod dialer;
mod exec;
mod failure;
mod files;
mod launcher;
mod log;
mod packet;
mod shim;
mod start;
mod status;
mod sys;

/// Developers' builds and tests keep std; the shipped program begins in `bare`.
#[cfg(panic = "unwind")]
fn main() -> std::process::ExitCode {
    use std::os::unix::ffi::OsStringExt;

    let arguments: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    std::process::ExitCode::from(launcher::main(&arguments))
}
