//! Starting a program without forking: `posix_spawn`, which shares the server's memory
//! until the exec, however much of it there is.
//!
//! The standard library's `Command` does the same, but cannot place descriptors.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Pid;

/// The first number for descriptors on their way: above the ones they are copied to,
/// so that no copy overwrites another's source.
const ABOVE: RawFd = 10;
/// glibc's `POSIX_SPAWN_SETSID`; not in the libc crate.
const SETSID: libc::c_int = 0x80;

/// Runs a program in a session of its own, with an empty environment, no signal
/// blocked or ignored, and exactly these descriptors: everything else of ours is
/// closed on exec.
pub(crate) fn spawn(program: &Path, words: &[&[u8]], places: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<Pid> {
    let program = CString::new(program.as_os_str().as_bytes())?;
    let words: Vec<CString> = words.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
    let sources: Vec<(OwnedFd, RawFd)> = places
        .iter()
        .map(|(from, to)| Ok((rustix::io::fcntl_dupfd_cloexec(from, ABOVE)?, *to)))
        .collect::<io::Result<_>>()?;
    let mut actions = Actions::new()?;
    for (from, to) in &sources {
        actions.place(from, *to)?;
    }
    execute(&program, &words, &actions, &Attributes::new()?)
}

/// What happens to descriptors in the new process.
struct Actions(libc::posix_spawn_file_actions_t);

/// Session and signals of the new process.
struct Attributes(libc::posix_spawnattr_t);

#[expect(unsafe_code, reason = "posix_spawn has no safe binding that places descriptors")]
impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init writes the whole structure when it returns 0.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(Self(actions.assume_init()))
        }
    }

    /// Copies a descriptor of ours to the number `to`.
    fn place(&mut self, from: &OwnedFd, to: RawFd) -> io::Result<()> {
        // SAFETY: the structure is initialised; whether `from` is open is looked at
        // when the process is made, and an error then.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from.as_raw_fd(), to) })
    }
}

#[expect(unsafe_code, reason = "what C initialises, C destroys")]
impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

#[expect(unsafe_code, reason = "posix_spawn has no safe binding that places descriptors")]
impl Attributes {
    fn new() -> io::Result<Self> {
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF | SETSID;
        let flags = libc::c_short::try_from(flags).expect("the flags are small numbers");
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init writes the whole structure when it returns 0.
        let mut attributes = unsafe {
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            Self(attributes.assume_init())
        };
        let (none, all) = signal_sets();
        let raw = &raw mut attributes.0;
        // SAFETY: the structure is initialised, the sets are too and only read.
        unsafe {
            check(libc::posix_spawnattr_setflags(raw, flags))?;
            check(libc::posix_spawnattr_setsigmask(raw, &raw const none))?;
            check(libc::posix_spawnattr_setsigdefault(raw, &raw const all))?;
        }
        Ok(attributes)
    }
}

#[expect(unsafe_code, reason = "what C initialises, C destroys")]
impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// The empty set and the full one.
#[expect(unsafe_code, reason = "signal sets are made by libc only")]
fn signal_sets() -> (libc::sigset_t, libc::sigset_t) {
    let (mut none, mut all) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both functions write the whole set and cannot fail for a valid pointer.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigfillset(all.as_mut_ptr());
        (none.assume_init(), all.assume_init())
    }
}

#[expect(unsafe_code, reason = "posix_spawn has no safe binding that places descriptors")]
fn execute(program: &CStr, words: &[CString], actions: &Actions, attributes: &Attributes) -> io::Result<Pid> {
    let mut argv: Vec<*mut libc::c_char> = words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    let environment = [std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: all pointers are to values that outlive the call, both lists end with a
    // null pointer, and the strings are only read.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            environment.as_ptr(),
        )
    })?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("the new process has no number"))
}

/// These functions return the error instead of setting `errno`.
fn check(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    #[test]
    fn a_program_gets_what_it_is_given_and_nothing_else() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (input, mut to_input) = io::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        to_input.write_all(b"through five\n").unwrap();
        drop(to_input);
        let kept = rustix::io::fcntl_dupfd_cloexec(&null, 50).unwrap();
        let ours = kept.as_raw_fd();
        let script = format!("read line <&5; echo $line; [ -e /proc/self/fd/{ours} ] || echo closed; exit 7");
        let words = [b"sh".as_slice(), b"-c", script.as_bytes()];
        // The sources overlap the targets on purpose: 0..2 are open already.
        let places = [(null.as_fd(), 0), (writer.as_fd(), 1), (null.as_fd(), 2), (input.as_fd(), 5)];
        let pid = spawn(Path::new("/bin/sh"), &words, &places).unwrap();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "through five\nclosed\n");
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = spawn(Path::new("/no/such"), &[b"x"], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
