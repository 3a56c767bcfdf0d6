//! Seccomp and Landlock, tried on a thread that ends right after.

#![expect(unsafe_code, reason = "seccomp and Landlock have no safe wrapper; each call says why it is sound")]

use std::io;

use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] = &[("isolation.seccomp", |_| seccomp()), ("isolation.landlock", |_| landlock())];

/// Installs a filter that allows everything, on this thread alone.
fn seccomp() -> Outcome {
    let try_it = || {
        rustix::thread::set_no_new_privs(true)?;
        let mut allow = libc::sock_filter {
            code: 0x06, // BPF_RET | BPF_K
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        };
        let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
        // SAFETY: `program` points at one instruction; both outlive the call, which
        // copies them. Without TSYNC the filter binds this thread only, and it allows
        // every call.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    match try_it() {
        Ok(()) => Outcome::ok("system calls can be filtered"),
        Err(error) => Outcome::missing(
            format!("system calls cannot be filtered: {error}"),
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// Asks for the version of Landlock's interface; that makes nothing.
fn landlock() -> Outcome {
    const VERSION: u32 = 1;
    // SAFETY: with no attributes and this flag the call only returns a number.
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    if abi > 0 {
        return Outcome::ok(format!("Landlock is there, version {abi}"));
    }
    let error = io::Error::last_os_error();
    Outcome::warning(
        format!("Landlock is not there: {error}; containers lack their second wall"),
        "add `landlock` to the kernel's `lsm=` parameter",
    )
}
