//! The shim: one container's companion, from its start to its end.
//!
//! ```text
//! start ──► running: log, control, exec, dial ──► ended: drain, record, answer, leave
//!   └─ failed: answer, leave
//! ```
//!
//! One thread, one poll(2): everything that can be waited for is a descriptor, also
//! processes. Nothing in the loop blocks, so that no asker, no slow log and no visitor
//! can hold up another.
//!
//! # Invariants
//!
//! * Whatever happens, the container does not outlive the shim: its first process dies
//!   with its parent, and everything else inside with its first process.
//! * `exit.json` is written after the last line of the log and before anybody is told.

mod streams;
pub(crate) mod watch;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{WaitId, WaitIdOptions, setsid, waitid};
use shipway_shim::protocol::{Exit, Launched, VERSION, path_bytes};

use crate::control::{Control, Ended};
use crate::dialer::Dials;
use crate::failure::{Failure, MayFail as _, Step as _};
use crate::files::{read_small, write_existing};
use crate::launcher::Shared;
use crate::packet::send_json;
use crate::start::{self, Running};
use crate::{status, sys};
use streams::Streams;
use watch::{Place, Watch};

/// The whole life of a shim, forked from the launcher a moment ago.
pub(crate) fn run(shared: &Shared, message: &[u8], reply: OwnedFd, listener: Option<OwnedFd>) -> ! {
    setsid().may_fail();
    if let Err(failure) = let_go_of_stdio() {
        send_json(&reply, &failure.into_launched(), &[]).may_fail();
        sys::leave(1)
    }
    rustix::thread::set_name(c"shipway-shim").may_fail();
    // The launcher ignores it, which would reap the container before we look.
    sys::default_signal(libc::SIGCHLD);
    match start::start(shared, message, listener, &reply) {
        Ok(running) => {
            let launched = Launched::Running(running.run.clone());
            // An engine that has gone meanwhile finds run.json.
            send_json(&reply, &launched, &[]).may_fail();
            drop(reply);
            Shim::new(shared, running).live()
        }
        Err(failure) => {
            send_json(&reply, &failure.into_launched(), &[]).may_fail();
            sys::leave(1)
        }
    }
}

/// The engine's stdout and stderr may be pipes that somebody reads to their end.
fn let_go_of_stdio() -> Result<(), Failure> {
    const STEP: &str = "open /dev/null";
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = openat(CWD, "/dev/null", flags, Mode::empty()).step(STEP)?;
    (0..3).try_for_each(|number| sys::place(&null, number)).step(STEP)
}

/// A shim beside its running container.
struct Shim<'shared> {
    shared: &'shared Shared,
    running: Running,
    streams: Streams,
    control: Control,
    dials: Dials,
}

impl<'shared> Shim<'shared> {
    fn new(shared: &'shared Shared, mut running: Running) -> Self {
        // From here on sockets are made in its network, and children in its pid
        // namespace. A container on the host's network shares ours already.
        let own = start::own_namespaces(&running.launch);
        // It fails only when the container has ended already; nobody asks then.
        sys::enter(&running.init.pidfd, own).may_fail();
        let streams = Streams::new(&mut running);
        Self { shared, streams, running, control: Control::default(), dials: Dials::default() }
    }

    fn live(mut self) -> ! {
        loop {
            let mut watch = Watch::new();
            watch.add(Place::Init, &self.running.init.pidfd, libc::POLLIN);
            self.streams.watch(&mut watch);
            self.control.watch(&mut watch, &self.running.places.control);
            self.dials.watch(&mut watch, self.running.places.dial.as_ref());
            let deadline = self.control.deadline().into_iter().chain(self.dials.deadline()).min();
            if watch.wait(deadline).is_err() {
                // poll fails only for lack of memory: try again when something changes.
                continue;
            }
            for place in watch.ready() {
                self.turn(place);
            }
            self.control.expire();
            self.dials.expire();
        }
    }

    fn turn(&mut self, place: Place) {
        match place {
            Place::Init => self.end(),
            Place::Stream(which) => self.streams.read(which),
            Place::Control => self.control.accept(&self.running.places.control),
            Place::Connection(id) => self.control.hear(id, &self.running, self.shared),
            Place::Execution(id) => self.control.follow(id),
            Place::Dial => self.dials.accept(&self.running),
            Place::Dialling(id) => self.dials.finish(id),
        }
    }

    /// The container's first process has ended, and with it everything inside.
    fn end(&mut self) {
        let init = WaitId::PidFd(self.running.init.pidfd.as_fd());
        let Ok(Some(ended)) = waitid(init, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) else {
            return;
        };
        let ended = Ended::from(&ended);
        self.streams.drain();
        let exit = self.exit(ended);
        kill_stragglers(&self.running);
        // Names first: the engine may start the container again the moment it sees
        // exit.json, and the next shim makes sockets of the same names.
        self.running.places.unlink_sockets();
        if let Err(failure) = status::record_exit(&self.running.places, &exit) {
            // No status can be kept; the engine sees a shim that is gone: lost.
            sys::complain(failure.detail.as_bytes());
        }
        self.control.tell_waiting(ended);
        sys::leave(0)
    }

    fn exit(&self, ended: Ended) -> Exit {
        let by_the_kernel = ended.was_killed() && !self.control.has_killed();
        Exit {
            version: VERSION,
            code: ended.code,
            signal: ended.signal,
            out_of_memory: by_the_kernel && status::was_out_of_memory(&self.running.launch.cgroups),
            ended_at: status::micros_since_epoch(),
        }
    }
}

/// Kills whoever the pid namespace's end has missed; there should be nobody.
///
/// Only then: Linux 6.18, as seen, kills every process that is born by
/// `CLONE_INTO_CGROUP` into a cgroup whose `cgroup.kill` was ever written (the clone
/// compares the target's count of kills with that of the parent's cgroup), so that a
/// container could not be started again in it.
fn kill_stragglers(running: &Running) {
    for cgroup in running.launch.cgroups.iter().filter(|cgroup| cgroup.v2) {
        let folder = path_bytes(&cgroup.path);
        let members = read_small(CWD, [folder, b"/cgroup.procs"].concat());
        if members.is_ok_and(|members| members.is_empty()) {
            continue;
        }
        let path = [folder, b"/cgroup.kill"].concat();
        // Kernels before 5.14 do not have it, and do without.
        write_existing(CWD, path.as_slice(), b"1").may_fail();
    }
}
