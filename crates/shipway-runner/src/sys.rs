//! The system calls that need `unsafe`, and nothing else.
//!
//! Each function wraps one call and turns its result into types. Whoever reviews
//! the runner's memory safety reads this file only.
#![expect(unsafe_code, reason = "posix_spawn, signalfd, waitid and taking over descriptor 3 have no safe binding")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// The descriptor of the listening socket (`sd_listen_fds(3)`).
pub const LISTENER: RawFd = 3;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

/// What is left when a call returned -1.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes over descriptor 3, and keeps every descriptor from 3 on out of the
/// scripts to come.
///
/// # Errors
///
/// Descriptor 3 is not a listening stream socket.
pub fn take_listener() -> io::Result<OwnedFd> {
    // SAFETY: the call only reads its arguments.
    check(unsafe { libc::fcntl(LISTENER, libc::F_GETFD) })?;
    // SAFETY: the descriptor is open, and nothing in this program owns it yet:
    // this is called once, before anything else opens a descriptor.
    let listener = unsafe { OwnedFd::from_raw_fd(LISTENER) };
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(io::Error::from(io::ErrorKind::NotConnected));
    }
    // SAFETY: marks descriptors, closes none.
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) })?;
    Ok(listener)
}

/// Takes over the listening socket that this program was announced.
///
/// # Errors
///
/// Nothing was announced, or it is not there.
pub fn announced_listener() -> io::Result<OwnedFd> {
    if std::env::var_os("LISTEN_FDS").as_deref() != Some("1".as_ref()) {
        return Err(io::Error::other("LISTEN_FDS must be 1: a listening socket at descriptor 3"));
    }
    take_listener().map_err(|error| io::Error::other(format!("no listening socket at descriptor 3: {error}")))
}

/// Takes over a descriptor that whoever started this program left open, and keeps it
/// out of what is started later; `None` when there is none of this number.
#[must_use]
pub fn take_inherited(number: RawFd) -> Option<OwnedFd> {
    if number < LISTENER {
        return None;
    }
    // SAFETY: the call only sets a flag, and only of a descriptor that is open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }).ok()?;
    // SAFETY: the descriptor is open, and nothing in this program owns it: the caller
    // asks for each number once, before anything else opens a descriptor.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Keeps this process's memory and descriptors from its own user, who a script is too.
/// A program that it executes is as open as any.
///
/// # Errors
///
/// Any error of the call.
pub fn hide_from_scripts() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// Blocks SIGCHLD, SIGTERM and SIGINT, which then arrive at the returned
/// descriptor, and ignores SIGPIPE.
///
/// # Errors
///
/// Any error of the calls.
pub fn take_signals() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; the other calls then read it, and
    // SIG_IGN is a valid disposition.
    unsafe {
        check(libc::sigemptyset(set.as_mut_ptr()))?;
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            check(libc::sigaddset(set.as_mut_ptr(), signal))?;
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let fd = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Returns the next child that has ended, and leaves it a zombie: until
/// [`forget`] its number, its session's and its group's mean no other process.
///
/// # Errors
///
/// `ECHILD` when there is no child at all; that is how "nothing is left behind"
/// is known.
pub fn next_ended() -> io::Result<Option<(Pid, Ending)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is writable; zeroed bytes are a valid siginfo_t, so it may be
    // read even where the kernel writes nothing (no child has ended). si_pid and
    // si_status are the fields of SIGCHLD.
    let (pid, code, status) = unsafe {
        check(libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT))?;
        let info = info.assume_init();
        (info.si_pid(), info.si_code, info.si_status())
    };
    let ending = if code == libc::CLD_EXITED { Ending::Exited(status) } else { Ending::Killed(status) };
    Ok(Pid::from_raw(pid).map(|pid| (pid, ending)))
}

/// Reaps a child that [`next_ended`] returned.
pub fn forget(pid: Pid) {
    // It is our zombie, so this cannot fail; if it did, the next round finds it again.
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG).ok();
}

/// Starts a program by `posix_spawn`, which in the C library is `clone(CLONE_VM |
/// CLONE_VFORK)`: nothing of the runner's memory is copied.
///
/// The child leads a session of its own, in `folder`, with default signals, and
/// has the three descriptors as its first three and no other.
///
/// # Errors
///
/// The error of the step that failed; `execve`'s own among them.
pub fn spawn(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
    folder: &CStr,
    stdio: [BorrowedFd<'_>; 3],
) -> io::Result<Pid> {
    let mut actions = FileActions::new()?;
    actions.change_folder(folder)?;
    for (target, source) in (0..).zip(stdio) {
        actions.duplicate(source.as_raw_fd(), target)?;
    }
    let attributes = Attributes::new()?;
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    let mut pid = 0;
    // SAFETY: every pointer is to a live, initialised object, and both arrays end
    // with a null pointer. posix_spawn does not write to the strings.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check_code(error)?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain(std::iter::once(std::ptr::null_mut())).collect()
}

/// The `posix_spawn` family returns an error's number and leaves `errno` alone.
fn check_code(error: libc::c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: initialises `actions`, which is read only if that succeeded.
        unsafe {
            check_code(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(Self(actions.assume_init()))
        }
    }

    fn change_folder(&mut self, folder: &CStr) -> io::Result<()> {
        // SAFETY: the object is initialised; the path is copied.
        check_code(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut self.0, folder.as_ptr()) })
    }

    fn duplicate(&mut self, source: RawFd, target: RawFd) -> io::Result<()> {
        // SAFETY: the object is initialised; bad descriptors are only reported.
        check_code(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, source, target) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised once, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// A session of its own, no signal blocked, every signal at its default.
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        let mut signals = MaybeUninit::uninit();
        // SAFETY: each object is initialised before it is read.
        unsafe {
            check_code(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut attributes = Self(attributes.assume_init());
            check(libc::sigemptyset(signals.as_mut_ptr()))?;
            check_code(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, signals.as_ptr()))?;
            check(libc::sigfillset(signals.as_mut_ptr()))?;
            check_code(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, signals.as_ptr()))?;
            let flags =
                libc::POSIX_SPAWN_SETSID | small(libc::POSIX_SPAWN_SETSIGMASK) | small(libc::POSIX_SPAWN_SETSIGDEF);
            check_code(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags))?;
            Ok(attributes)
        }
    }
}

/// The flags of `posix_spawn` fit into the type it takes them as.
#[expect(clippy::cast_possible_truncation, reason = "both flags are below 2^15")]
const fn small(flag: libc::c_int) -> libc::c_short {
    flag as libc::c_short
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised once, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
