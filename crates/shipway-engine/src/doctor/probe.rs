//! Threads, children and directories that a check may spoil.

#![expect(unsafe_code, reason = "unshare, clone3 and waitpid; each call says why it is sound")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::thread::UnshareFlags;

use super::{DoctorConfig, Outcome};

/// No honest answer takes longer; verifying an image reads a few hundred megabytes.
const CHECK_MAX: Duration = Duration::from_secs(20);
/// First of the host ids that a trial user namespace maps; any unused range would do.
const TRIAL_ID_BASE: u32 = 0x7000_0000;

/// Runs a check on a thread of its own and waits for it, but not for ever.
pub(super) fn within_time(check: fn(&DoctorConfig) -> Outcome, config: &DoctorConfig) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    let config = config.clone();
    let thread = std::thread::Builder::new().name("doctor".to_owned());
    let spawned = thread.spawn(move || drop(sender.send(check(&config))));
    if let Err(error) = spawned {
        return Outcome::warning(format!("could not be examined: {error}"), "raise the limit of processes");
    }
    receiver.recv_timeout(CHECK_MAX).unwrap_or_else(|_| {
        Outcome::warning(
            format!("gave no answer within {} s", CHECK_MAX.as_secs()),
            "look for a disk or a network file system that hangs",
        )
    })
}

/// Moves this thread into namespaces of its own, for the rest of its short life.
///
/// Only for threads of [`within_time`]: what they leave behind dies with them.
pub(super) fn enter_own(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: none of the flags used here splits the descriptor table, so no
    // descriptor owned elsewhere changes its meaning; root, working directory and
    // namespaces change for this thread alone, which ends after its check.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}

/// As [`enter_own`], with a mount table whose changes nobody else sees.
pub(super) fn enter_own_mounts() -> io::Result<()> {
    enter_own(UnshareFlags::FS | UnshareFlags::NEWNS)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    Ok(())
}

/// A child that does nothing, in namespaces of its own. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct IdleChild {
    pid: libc::pid_t,
    pidfd: OwnedFd,
}

impl IdleChild {
    /// Clones it with the `CLONE_NEW…` flags given.
    pub(super) fn start(flags: libc::c_int) -> io::Result<Self> {
        let mut pidfd: libc::c_int = -1;
        // SAFETY: clone_args is plain numbers, for which zero means "not used".
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = u64::from((flags | libc::CLONE_PIDFD).cast_unsigned());
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
        let size = size_of::<libc::clone_args>();
        // SAFETY: without CLONE_VM this is fork(2): the child gets a copy of our
        // memory in which only this thread exists, and `idle` calls nothing but
        // system calls, so it takes no lock that another thread held.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) };
        match pid {
            0 => idle(),
            pid if pid > 0 => Ok(Self {
                pid: libc::pid_t::try_from(pid).map_err(io::Error::other)?,
                // SAFETY: the kernel has just put a new descriptor there, ours alone.
                pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Its number, for tests that look for it in /proc.
    #[cfg(test)]
    pub(super) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Starts one in a user namespace with 65,536 ids of its own, and opens that.
    pub(super) fn user_namespace() -> io::Result<OwnedFd> {
        let child = Self::start(libc::CLONE_NEWUSER)?;
        let proc = PathBuf::from(format!("/proc/{}", child.pid));
        let map = format!("0 {TRIAL_ID_BASE} 65536");
        for file in ["uid_map", "gid_map"] {
            let file = std::fs::File::options().write(true).open(proc.join(file))?;
            io::Write::write_all(&mut &file, map.as_bytes())?;
        }
        // An open namespace lives on without its last process.
        Ok(std::fs::File::open(proc.join("ns/user"))?.into())
    }
}

impl Drop for IdleChild {
    fn drop(&mut self) {
        // Both can only fail if it is gone, which is what they are for.
        pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
        let ended = WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.pidfd));
        waitid(ended, WaitIdOptions::EXITED).ok();
    }
}

/// The child's whole life. It ends with the thread that made it, so that a killed
/// doctor leaves none behind; and by itself, should that thread be gone already.
fn idle() -> ! {
    // SAFETY: plain system calls without pointers; none returns into Rust code that
    // could allocate or unwind.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::sleep(60);
        libc::_exit(0)
    }
}

/// A directory that is removed with whatever is in it.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one on the file system that `dir` is on, or will be on.
    pub(super) fn near(dir: &Path) -> io::Result<Self> {
        let parent = dir.ancestors().find(|path| path.is_dir());
        let parent = parent.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
        rustix::fs::mkdirat(CWD, &path, rustix::fs::Mode::RWXU)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a directory in it.
    pub(super) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Begins the name of every scratch directory.
const PREFIX: &str = ".shipway-doctor-";
/// Whatever is older than this belongs to a doctor that was killed, not to one that
/// is at work beside us.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(600);

fn sweep(parent: &Path) {
    for path in leftovers(parent, PREFIX) {
        drop(std::fs::remove_dir_all(path));
    }
}

/// Lists what begins with `prefix` in `parent` and was left there by a killed doctor.
pub(super) fn leftovers(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_left = |entry: &std::fs::DirEntry| {
        let age = entry.metadata().and_then(|found| found.modified());
        let age = age.ok().and_then(|modified| modified.elapsed().ok());
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix);
        is_ours && age.is_some_and(|age| age > LEFTOVER_AGE_MIN)
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(is_left).map(|entry| entry.path()).collect()
}

/// Applies an id-mapping to the mount that `mount` is the root of.
pub(super) fn idmap(mount: &OwnedFd, user_namespace: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(user_namespace.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: the path is a C string and `attributes` a whole mount_attr of the size
    // given; both live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AtFlags::EMPTY_PATH.bits(),
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
