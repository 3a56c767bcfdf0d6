//! The last steps before a user's program: everything is given up.
//!
//! The same for a container's first process and for one that enters it later. The
//! order matters: what may still be opened, then descriptors, then identity, then
//! capabilities, and the filter last, because each takes away what the next needs.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Signal, chdir, getcwd, set_parent_process_death_signal, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use shipway_shim::protocol::{EXECUTE, Process, Rlimit, path_bytes};

use crate::container::child::{EXEC, READY, RUN};
use crate::failure::{Failure, MayFail as _, Step as _};
use crate::packet::{receive, send};
use crate::sys::{self, Instruction, Strings};

/// Where a program without a `PATH` is looked for.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Descriptors on their way are duplicated to numbers from here on, clear of the four.
const ABOVE: i32 = 64;

/// What stdin, stdout and stderr become.
#[derive(Debug)]
pub(crate) struct Stdio {
    descriptors: [OwnedFd; 3],
    is_terminal: bool,
}

impl Stdio {
    /// Three different files.
    pub(crate) fn apart(input: OwnedFd, output: OwnedFd, errors: OwnedFd) -> Self {
        Self { descriptors: [input, output, errors], is_terminal: false }
    }

    /// The slave side of a terminal, which becomes the controlling one.
    pub(crate) fn of_terminal(slave: OwnedFd) -> Result<Self, Failure> {
        const STEP: &str = "duplicate the terminal";
        let again = || sys::duplicate_above(&slave, 0).step(STEP);
        Ok(Self { descriptors: [again()?, again()?, slave], is_terminal: true })
    }
}

/// A program about to be executed.
#[derive(Debug)]
pub(crate) struct Program<'spec> {
    /// What to run.
    pub(crate) process: &'spec Process,
    /// Its stdio.
    pub(crate) stdio: Stdio,
    /// Its listening socket.
    pub(crate) listener: Option<OwnedFd>,
    /// Its filter.
    pub(crate) seccomp: Option<&'spec [Instruction]>,
    /// When to run.
    pub(crate) cue: Cue,
}

/// When a program that has given everything up is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    /// At once.
    AtOnce,
    /// When the shim says so, which it does soon.
    Word,
    /// The same, but the shim waits too and wants to know that all is ready.
    WordAtTheGate,
}

impl Program<'_> {
    /// Gives everything up and executes. Returns only to say what failed; `report` is
    /// the socket to the shim, and still works then.
    pub(crate) fn execute(self, report: &OwnedFd) -> Failure {
        match self.give_up_and_execute(report) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn give_up_and_execute(self, report: &OwnedFd) -> Result<Infallible, Failure> {
        let (process, seccomp, cue) = (self.process, self.seccomp, self.cue);
        let (argv, env) = strings(process, self.listener.is_some())?;
        let programs = candidates(process)?;
        // Fails for a process that leads its session already: then there is no other to leave.
        setsid().may_fail();
        self.place_descriptors(report)?;
        lower_limits(&process.rlimits)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        // The launcher ignores it, and what is ignored stays so across execve.
        sys::default_signal(libc::SIGPIPE);
        change_identity(process)?;
        enter_folder(process)?;
        die_with_the_shim()?;
        wait_to_run(cue, report)?;
        // Fails when the shim died before it could take us along. Before the filter, which
        // need not let it pass; what fails after it is still told, and counts.
        send(report, EXEC, &[]).step("tell the shim")?;
        set_no_new_privs(true).step("set no_new_privs")?;
        if let Some(filter) = seccomp {
            sys::filter_calls(filter).step("install the seccomp filter")?;
        }
        Err(try_each(&programs, &argv, &env))
    }

    /// stdin, stdout, stderr, the listener; everything else but `report` is closed.
    fn place_descriptors(self, report: &OwnedFd) -> Result<(), Failure> {
        const STEP: &str = "place the descriptors";
        let is_terminal = self.stdio.is_terminal;
        let wanted = self.stdio.descriptors.into_iter().chain(self.listener);
        // All out of the way first: one's number may be another's place.
        let moved: Result<Vec<OwnedFd>, Errno> = wanted.map(|one| sys::duplicate_above(&one, ABOVE)).collect();
        let moved = moved.step(STEP)?;
        let mut first_free = 0;
        for (number, one) in (0..).zip(&moved) {
            sys::place(one, number).step(STEP)?;
            first_free = number + 1;
        }
        drop(moved);
        sys::close_all_but(first_free, report).step(STEP)?;
        if is_terminal {
            sys::take_terminal().step("take the terminal")?;
        }
        Ok(())
    }
}

/// Arguments and environment; `LISTEN_*` only for a process that gets a listener.
fn strings(process: &Process, listens: bool) -> Result<(Strings, Strings), Failure> {
    const STEP: &str = "read the program's arguments";
    let listen: &[&str] = match listens {
        true => &["LISTEN_FDS=1", "LISTEN_PID=1"],
        false => &[],
    };
    let env = process.env.iter().map(String::as_str).chain(listen.iter().copied());
    let argv = Strings::new(process.argv.iter().map(String::as_str)).step(STEP)?;
    Ok((argv, Strings::new(env).step(STEP)?))
}

/// The paths where the program may be, as execvp(3) would try them.
fn candidates(process: &Process) -> Result<Vec<CString>, Failure> {
    const STEP: &str = "find the program";
    let name = process.argv.first().map_or("", String::as_str);
    if name.is_empty() {
        return Err(Failure::refused(STEP, "no program is named"));
    }
    let paths: Vec<String> = if name.contains('/') {
        Vec::from([name.into()])
    } else {
        let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
        let folders = path.unwrap_or(DEFAULT_PATH).split(':');
        folders.map(|folder| format!("{}/{name}", if folder.is_empty() { "." } else { folder })).collect()
    };
    let paths: Result<Vec<CString>, _> = paths.into_iter().map(CString::new).collect();
    paths.map_err(|_| Errno::INVAL).step(STEP)
}

fn try_each(programs: &[CString], argv: &Strings, env: &Strings) -> Failure {
    let mut worst = Errno::NOENT;
    for program in programs {
        match sys::execute(program, argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            // Somebody may be allowed to run a later one; if not, this is what to tell.
            Errno::ACCESS => worst = Errno::ACCESS,
            other => {
                worst = other;
                break;
            }
        }
    }
    Failure {
        step: EXECUTE.into(),
        errno: worst.raw_os_error(),
        detail: programs.last().map(|last| last.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

/// Sets the limits; one that is higher than this host lets us set stays at the host's.
///
/// The shim has raised them where it may (see `start`); inside the user namespace a
/// hard limit can only be lowered.
fn lower_limits(limits: &[Rlimit]) -> Result<(), Failure> {
    const STEP: &str = "set a resource limit";
    for limit in limits {
        let (_, hard_max) = sys::limit(0, limit.resource, None).step(STEP)?;
        let hard = limit.hard.min(hard_max);
        let new = Some((limit.soft.min(hard), hard));
        sys::limit(0, limit.resource, new).step(STEP)?;
    }
    Ok(())
}

/// User, groups, and no capability that the mask does not have.
fn change_identity(process: &Process) -> Result<(), Failure> {
    const STEP: &str = "change the user";
    let groups: Vec<Gid> = process.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (user, group) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    set_thread_groups(&groups).step("set the groups")?;
    set_thread_res_gid(group, group, group).step("change the group")?;
    sys::bound_capabilities(process.capabilities).step("bound the capabilities")?;
    // Leaving 0 takes the effective and permitted ones by itself.
    set_thread_res_uid(user, user, user).step(STEP)?;
    let kept = if user.is_root() { process.capabilities } else { 0 };
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(kept & ALL_CAPABILITIES),
        permitted: CapabilitySet::from_bits_retain(kept & ALL_CAPABILITIES),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).step("give up capabilities")?;
    clear_ambient_capability_set().step("clear the ambient capabilities")
}

/// Up to `CAP_CHECKPOINT_RESTORE` (40); the kernel refuses bits it does not know.
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// Enters the working directory, which must exist. With every foreign descriptor
/// closed, `/proc/self/fd` leads nowhere outside; and where we are is checked.
fn enter_folder(process: &Process) -> Result<(), Failure> {
    const STEP: &str = "enter the working directory";
    let path = path_bytes(&process.cwd);
    chdir(path).step_on(STEP, path)?;
    let here = getcwd(Vec::new()).step_on(STEP, path)?;
    if here.to_bytes().first() != Some(&b'/') {
        return Err(Failure::refused(STEP, "it is outside of the container"));
    }
    Ok(())
}

/// Cleared by every change of identity, so after the last one.
fn die_with_the_shim() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).step("tie the life to the shim's")
}

/// End of file here is a shim that died before the signal was set.
fn wait_to_run(cue: Cue, report: &OwnedFd) -> Result<(), Failure> {
    const STEP: &str = "wait for the word to run";
    match cue {
        Cue::AtOnce => return Ok(()),
        Cue::Word => {}
        Cue::WordAtTheGate => send(report, READY, &[]).step(STEP)?,
    }
    match receive(report, RecvFlags::empty()).step(STEP)? {
        Some(packet) if packet.bytes.as_deref() == Some(RUN) => Ok(()),
        _ => Err(Failure::refused(STEP, "the shim is gone")),
    }
}
