//! System calls that rustix leaves out, each behind a safe function.
//!
//! All of this program's `unsafe` is here and in `bare`. Forking is safe in it
//! because it never has a second thread.

#![expect(unsafe_code, reason = "the one door to raw system calls")]

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{c_int, c_long};
use core::ptr;

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use rustix::io::Errno;

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Forked<T> {
    /// The new process.
    Child,
    /// The old one, and what it knows of the new one.
    Parent(T),
}

/// A process just made, seen from here.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its number in this process's pid namespace.
    pub(crate) pid: i32,
    /// A handle that never means another process.
    pub(crate) pidfd: OwnedFd,
}

fn check(result: c_long) -> Result<c_long, Errno> {
    if result < 0 {
        // SAFETY: the C library's errno of this, the only thread.
        return Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }));
    }
    Ok(result)
}

fn check_int(result: c_int) -> Result<c_int, Errno> {
    check(c_long::from(result)).map(|_| result)
}

/// fork(2). The child's descriptors and memory are copies.
pub(crate) fn fork() -> Result<Forked<i32>, Errno> {
    // SAFETY: single-threaded, so the child's heap and locks are consistent.
    match check_int(unsafe { libc::fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// clone3(2) with `flags` (a pidfd is always made), born into `cgroup` if given.
pub(crate) fn clone3(flags: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked<Child>, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data; zero means "not used" for each field.
    let mut arguments: libc::clone_args = unsafe { core::mem::zeroed() };
    // Both are bit masks: sign extension of a c_int would set foreign bits.
    arguments.flags = u64::from((flags | libc::CLONE_PIDFD).cast_unsigned());
    arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: no CLONE_VM, so the child has its own copy of this stack; the
    // arguments outlive the call.
    let result =
        check(unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(&arguments), size_of::<libc::clone_args>()) })?;
    let Ok(pid) = i32::try_from(result) else {
        return Err(Errno::OVERFLOW);
    };
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent(Child { pid, pidfd }))
}

/// Not in the libc crate for every target.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// setns(2) by pidfd into the named namespaces of that process.
pub(crate) fn enter(process: impl AsFd, namespaces: c_int) -> Result<(), Errno> {
    // SAFETY: changes only this process's namespaces.
    check_int(unsafe { libc::setns(process.as_fd().as_raw_fd(), namespaces) }).map(drop)
}

/// unshare(2) of namespaces or of other shared parts.
pub(crate) fn unshare(flags: c_int) -> Result<(), Errno> {
    // SAFETY: changes only this process.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

/// What `mount_setattr(2)` changes on one mount, or on a tree of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountChange<'fd> {
    /// `MOUNT_ATTR_*` to set.
    pub(crate) set: u64,
    /// A user namespace whose maps the mount's ids are seen through.
    pub(crate) idmap: Option<BorrowedFd<'fd>>,
}

/// `mount_setattr(2)` on the mount that `mount` is open on.
pub(crate) fn change_mount(mount: impl AsFd, change: MountChange<'_>) -> Result<(), Errno> {
    let mut attributes = libc::mount_attr { attr_set: change.set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if let Some(namespace) = change.idmap {
        attributes.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attributes.userns_fd = u64::from(namespace.as_raw_fd().cast_unsigned());
    }
    // SAFETY: the empty path and the attributes outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// `close_range(2)`: closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> Result<(), Errno> {
    close_range(first, RawFd::MAX)
}

/// Closes every descriptor from `first` on but `kept`, whose number is higher.
pub(crate) fn close_all_but(first: RawFd, kept: impl AsFd) -> Result<(), Errno> {
    let kept = kept.as_fd().as_raw_fd();
    if kept <= first {
        return Err(Errno::INVAL);
    }
    close_range(first, kept - 1)?;
    close_range(kept + 1, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    // SAFETY: callers never use a descriptor of that range again; each says so.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Takes ownership of a descriptor that this process was started with.
pub(crate) fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD only looks.
    check_int(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open, and each caller asks once, before anything else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// dup2(2) onto a number; clears its close-on-exec flag, also when it is there already.
pub(crate) fn place(descriptor: impl AsFd, number: RawFd) -> Result<(), Errno> {
    let old = descriptor.as_fd().as_raw_fd();
    if old == number {
        // SAFETY: F_SETFD changes one flag.
        return check_int(unsafe { libc::fcntl(old, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: the callers place only onto numbers that nothing of theirs owns.
    check_int(unsafe { libc::dup2(old, number) }).map(drop)
}

/// A duplicate numbered `at_least` or higher, closed by exec.
pub(crate) fn duplicate_above(descriptor: impl AsFd, at_least: RawFd) -> Result<OwnedFd, Errno> {
    let old = descriptor.as_fd().as_raw_fd();
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor, which we own.
    unsafe {
        let new = check_int(libc::fcntl(old, libc::F_DUPFD_CLOEXEC, at_least))?;
        Ok(OwnedFd::from_raw_fd(new))
    }
}

/// Sets what a signal does to its default.
pub(crate) fn default_signal(signal: c_int) {
    // All zero is SIG_DFL with no flags and no mask. The raw call, because the C
    // library's refuses its own two signals, which may have been inherited as ignored.
    let action = [0_u64; 4];
    // SAFETY: no handler of ours is replaced; the kernel's structure is four words long
    // and its mask eight bytes; an unknown number is refused harmlessly.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), 0, 8);
    }
}

/// Ignores a signal; for SIGCHLD that also reaps every child.
pub(crate) fn ignore_signal(signal: c_int) {
    // SAFETY: as above.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// The signal of that number, if there is one.
pub(crate) fn signal(number: c_int) -> Option<rustix::process::Signal> {
    if !(1..=64).contains(&number) {
        return None;
    }
    // SAFETY: a number that the kernel knows; the C library's own two real-time signals
    // mean nothing to this single-threaded program, and it is not the one signalled.
    Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}

/// Unblocks every signal.
pub(crate) fn unblock_signals() {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut none: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// The mask of a capability set limited to `mask`: drops the others from the bounding set.
pub(crate) fn bound_capabilities(mask: u64) -> Result<(), Errno> {
    for capability in 0..u64::BITS {
        if mask & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: drops a capability of this process.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, u64::from(capability)) };
        match check_int(dropped) {
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            other => drop(other?),
        }
    }
    Ok(())
}

/// prlimit(2): sets a limit of process `pid` (0: this one) and returns the old (soft, hard).
pub(crate) fn limit(pid: i32, resource: u32, new: Option<(u64, u64)>) -> Result<(u64, u64), Errno> {
    let new = new.map(|(rlim_cur, rlim_max)| libc::rlimit64 { rlim_cur, rlim_max });
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both structures outlive the call; a null new one only reads.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            new.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::from_mut(&mut old),
        )
    })?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// One instruction of a seccomp program, as the kernel reads it.
pub(crate) type Instruction = [u8; 8];

/// seccomp(2): installs a filter for good. Needs `no_new_privs`.
pub(crate) fn filter_calls(program: &[Instruction]) -> Result<(), Errno> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(Errno::INVAL);
    };
    let filter = libc::sock_fprog {
        len,
        // The kernel only reads it, and copies it byte by byte.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `filter` points at `len` instructions of eight bytes.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, ptr::from_ref(&filter)) })
        .map(drop)
}

/// Argument or environment strings, ready for execve(2).
#[derive(Debug)]
pub(crate) struct Strings {
    /// Owns what the pointers point at.
    strings: Vec<CString>,
}

impl Strings {
    /// Keeps the strings; one with a NUL inside is an error.
    pub(crate) fn new<'text>(texts: impl IntoIterator<Item = &'text str>) -> Result<Self, Errno> {
        let strings: Result<Vec<CString>, _> = texts.into_iter().map(CString::new).collect();
        Ok(Self { strings: strings.map_err(|_| Errno::INVAL)? })
    }

    fn pointers(&self) -> Vec<*const core::ffi::c_char> {
        let pointers = self.strings.iter().map(|string| string.as_ptr());
        pointers.chain([ptr::null()]).collect()
    }
}

/// execve(2); returns only to say why it could not.
pub(crate) fn execute(program: &core::ffi::CStr, argv: &Strings, env: &Strings) -> Errno {
    let (argv, env) = (argv.pointers(), env.pointers());
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    let result = unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    check_int(result).err().unwrap_or(Errno::INVAL)
}

/// One descriptor that poll(2) watches.
pub(crate) type Watched = libc::pollfd;

/// A descriptor and the events to wait for.
pub(crate) fn watched(descriptor: impl AsFd, events: i16) -> Watched {
    Watched { fd: descriptor.as_fd().as_raw_fd(), events, revents: 0 }
}

/// poll(2); a signal counts as nothing. `timeout_ms` of -1 waits for ever.
pub(crate) fn poll(watched: &mut [Watched], timeout_ms: i32) -> Result<(), Errno> {
    let count = libc::nfds_t::try_from(watched.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the slice holds `count` entries.
    match check_int(unsafe { libc::poll(watched.as_mut_ptr(), count, timeout_ms) }) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Writes to stderr, if there is one.
pub(crate) fn complain(text: &[u8]) {
    // SAFETY: the slice is valid for its length; the result does not matter.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// Sets the user and group that file systems see (setfsuid(2)); clears capabilities
/// over files, which the caller raises again.
pub(crate) fn act_as(id: u32) {
    // SAFETY: changes only this process's credentials; the calls never fail visibly.
    unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
    }
}

/// Makes the terminal that is stdin the controlling one of this session.
pub(crate) fn take_terminal() -> Result<(), Errno> {
    // SAFETY: the request takes no pointer.
    check_int(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets the size of the terminal that `master` is a side of.
pub(crate) fn resize_terminal(master: impl AsFd, columns: u16, rows: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request only reads the structure, which outlives the call.
    check_int(unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSWINSZ, ptr::from_ref(&size)) }).map(drop)
}

/// Ends this process without running anything else.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(status) }
}
