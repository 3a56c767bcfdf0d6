//! Which process belongs to which request, and why nothing outlives its own.
//!
//! A script may fork, detach, and exit; what it leaves behind must die with its
//! request. Cgroups would say who belongs to whom, but a container cannot make
//! any. So three things are used that it does have:
//!
//! * **The session.** Each request's process leads one, and its number is not
//!   given to another process while a member lives. Killing the leader's process
//!   group ends at one stroke everything that did not detach, fork bombs included.
//! * **Inheritance.** The runner is the container's first process (or, in a test,
//!   a subreaper): whoever loses its parent becomes the runner's child. So a
//!   process that detached cannot hide: once its parents are dead it stands among
//!   our children, where everyone that we did not start ourselves is an orphan.
//! * **The marker.** Each request's environment carries a random id, which its
//!   children inherit. An orphan outside its session is judged by it.
//!
//! An orphan is spared while its session or its marker is a running request's: a
//! script may well start a daemon and use it. Every other orphan is killed, one
//! that wiped its environment too: who hides where it comes from is not waited for.
//! When one is killed its own children become ours, and are judged next, until
//! none is left. A process that copies the marker of another request lives until
//! that one ends; the container's limits on processes and memory bound the rest.

use std::fs;
use std::io;
use std::str::FromStr;

use rustix::process::{self, Pid, Signal};

use crate::cgi::environment::MARKER;

/// Most generations of orphans that are waited for at the runner's own end.
const GENERATIONS_MAX: usize = 64;

/// The processes we started, and whether there may be orphans.
#[derive(Debug)]
pub struct Family {
    members: Vec<Member>,
    own: Pid,
    may_have_orphans: bool,
}

/// One running request's first process.
#[derive(Debug)]
struct Member {
    root: Pid,
    marker: String,
    token: u64,
}

impl Family {
    /// Becomes the parent of every orphan below this process.
    ///
    /// # Errors
    ///
    /// Any error of `prctl`.
    pub fn open() -> io::Result<Self> {
        let own = process::getpid();
        // The first process of a container is one anyway.
        process::set_child_subreaper(Some(own))?;
        Ok(Self { members: Vec::new(), own, may_have_orphans: false })
    }

    /// How many requests' processes run.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.members.len()
    }

    /// Takes note of a request's first process.
    pub fn adopt(&mut self, root: Pid, marker: String, token: u64) {
        self.members.push(Member { root, marker, token });
    }

    /// Ends a request's process that is still running, and all it started.
    pub fn cancel(&mut self, root: Pid) {
        if self.leave(root).is_some() {
            end_group(root);
        }
    }

    /// Takes note that one of our children has ended and is still a zombie, which
    /// it must stay until this returns. Says whose request it was the root of.
    pub fn ended(&mut self, pid: Pid) -> Option<u64> {
        // The dead may have left children that are ours now.
        self.may_have_orphans = true;
        let token = self.leave(pid)?;
        end_group(pid);
        Some(token)
    }

    /// Takes note that there is no child at all, hence no orphan.
    pub const fn is_childless(&mut self) {
        self.may_have_orphans = false;
    }

    /// Whether a [`Family::sweep`] is due.
    #[must_use]
    pub const fn may_have_orphans(&self) -> bool {
        self.may_have_orphans
    }

    /// Kills every orphan whose request is over. Says how many it killed: after
    /// any, their children may have become ours, so another sweep is due.
    pub fn sweep(&mut self) -> usize {
        self.kill_strays().len()
    }

    fn kill_strays(&mut self) -> Vec<Pid> {
        let strays: Vec<Pid> = children(self.own).into_iter().filter(|pid| !self.is_spared(*pid)).collect();
        for pid in &strays {
            // Ours and not reaped, so the number is still its own; a zombie takes no harm.
            process::kill_process(*pid, Signal::KILL).ok();
        }
        self.may_have_orphans = !strays.is_empty();
        strays
    }

    /// Kills everything, at the runner's own end.
    ///
    /// For the first process of a container its end alone does that; elsewhere the
    /// killed are waited for, because their children are ours only then.
    pub fn end_all(&mut self) {
        while let Some(member) = self.members.pop() {
            end_group(member.root);
        }
        for _ in 0..GENERATIONS_MAX {
            let is_first = self.own.as_raw_nonzero().get() == 1;
            let strays = self.kill_strays();
            if strays.is_empty() || is_first {
                return;
            }
            // These and no others: what becomes ours when they end has not been killed.
            for pid in strays {
                process::waitpid(Some(pid), process::WaitOptions::empty()).ok();
            }
        }
    }

    fn leave(&mut self, root: Pid) -> Option<u64> {
        let at = self.members.iter().position(|member| member.root == root)?;
        Some(self.members.swap_remove(at).token)
    }

    fn is_spared(&self, pid: Pid) -> bool {
        if self.members.is_empty() {
            return false;
        }
        if self.members.iter().any(|member| member.root == pid) {
            return true;
        }
        let session = session_of(pid);
        self.members.iter().any(|member| Some(member.root) == session)
            || marker_of(pid).is_some_and(|marker| self.members.iter().any(|member| member.marker == marker))
    }
}

/// A request's marker: 128 random bits, in hexadecimal.
#[must_use]
pub fn marker() -> String {
    let mut bytes = [0_u8; 16];
    // Blocks only before the kernel has ever had randomness, hours before us.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok();
    format!("{:032x}", u128::from_ne_bytes(bytes))
}

/// Kills a session leader's process group, and the leader should it be alone.
fn end_group(root: Pid) {
    // Fails only when nobody is left.
    process::kill_process_group(root, Signal::KILL).ok();
    process::kill_process(root, Signal::KILL).ok();
}

/// Lists our children. `/proc/thread-self/children` says so in one read where the
/// kernel has it; elsewhere every process is asked for its parent, which is cheap
/// in a container of a few.
fn children(own: Pid) -> Vec<Pid> {
    if let Ok(list) = fs::read_to_string("/proc/thread-self/children") {
        return list.split_ascii_whitespace().filter_map(pid).collect();
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| pid(entry.ok()?.file_name().to_str()?))
        .filter(|pid| parent_of(*pid) == Some(own))
        .collect()
}

fn pid(text: &str) -> Option<Pid> {
    i32::from_str(text).ok().and_then(Pid::from_raw)
}

/// The parent of a process, while there is such a process.
#[must_use]
pub fn parent_of(pid: Pid) -> Option<Pid> {
    number_after_name(pid, 1)
}

/// `getsid` would say it too, but 0 for a session that began outside of our process
/// namespace (a process that entered the container), and 0 is no `Pid`.
fn session_of(pid: Pid) -> Option<Pid> {
    number_after_name(pid, 3)
}

/// Reads a field of `/proc/<pid>/stat` (`proc_pid_stat(5)`). The second field, the
/// name, is in parentheses and may contain anything, so they are counted from its end.
fn number_after_name(pid: Pid, at: usize) -> Option<Pid> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace();
    fields.nth(at).and_then(self::pid)
}

fn marker_of(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARKER.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_parent() {
        let own = process::getpid();
        assert_eq!(parent_of(own), process::getppid());
    }

    #[test]
    fn a_leader_of_a_session_is_in_its_own() {
        let mut command = std::process::Command::new("/usr/bin/setsid");
        let mut leader = command.args(["--wait", "/bin/cat"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&leader);
        // `setsid` forks only when it leads a process group already, which it does not here.
        let began = std::time::Instant::now();
        while session_of(pid) != Some(pid) {
            assert!(began.elapsed().as_secs() < 10, "no session of its own");
            std::thread::yield_now();
        }
        drop(leader.stdin.take());
        assert!(leader.wait().unwrap().success());
    }

    #[test]
    fn who_belongs_to_no_running_request_is_not_spared() {
        let own = process::getpid();
        let mut family = Family { members: Vec::new(), own, may_have_orphans: false };
        assert!(!family.is_spared(own));
        family.adopt(own, "m".to_owned(), 7);
        assert!(family.is_spared(own), "it leads a request");
        assert_eq!(family.leave(own), Some(7));
        assert!(!family.is_spared(own));
    }
}
