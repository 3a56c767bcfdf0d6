//! Signals, the dead, orphans, and whose turn it is: the parts of the loop that
//! deal with processes.

use rustix::process::Pid;

use super::slots::Token;
use super::{Server, exchange, limits};
use crate::server::connection::Phase;
use crate::sys::{self, Ending};

/// Size of `struct signalfd_siginfo` (signalfd(2)); the first four bytes are the number.
const SIGNAL_BYTES: usize = 128;

/// Most children reaped before others get their turn.
const REAPED_MAX: usize = 1024;

impl Server {
    /// Takes the signals that have come.
    pub(super) fn on_signals(&mut self) {
        let mut buffer = [0; SIGNAL_BYTES * 4];
        while let Ok(count) = rustix::io::read(&self.signals, &mut buffer) {
            for signal in buffer[..count].chunks_exact(SIGNAL_BYTES) {
                let number = i32::from_ne_bytes([signal[0], signal[1], signal[2], signal[3]]);
                if number != libc::SIGCHLD {
                    self.drain();
                }
            }
            if count == 0 {
                break;
            }
        }
        // Signals are not counted: one SIGCHLD may stand for many children.
        self.reap();
    }

    fn reap(&mut self) {
        for _ in 0..REAPED_MAX {
            match sys::next_ended() {
                Ok(Some((pid, ending))) => {
                    let whose = self.family.ended(pid);
                    sys::forget(pid);
                    if let Some(data) = whose {
                        self.on_ended(Token::of(data).0, pid, ending);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    if error.raw_os_error() == Some(libc::ECHILD) {
                        self.family.is_childless();
                    }
                    break;
                }
            }
        }
        self.plan_sweep();
    }

    fn on_ended(&mut self, token: Token, pid: Pid, ending: Ending) {
        let Some(mut connection) = self.slots.take(token) else {
            return;
        };
        if let Phase::Script(script) = &mut connection.phase {
            script.ended(pid, ending);
        }
        self.go_on(token, connection);
    }

    /// Orphans are looked for at once when nobody else is at work, which then is
    /// for free; otherwise together with those that come in the next moments.
    fn plan_sweep(&mut self) {
        if !self.family.may_have_orphans() {
            return;
        }
        if self.family.count() == 0 {
            self.sweep();
        } else if self.sweep_at.is_none() {
            self.sweep_at = Some(self.now + limits::SWEEP);
        }
    }

    /// Kills orphans whose request is over; comes back as long as there were any.
    pub(super) fn sweep(&mut self) {
        if self.family.sweep() > 0 {
            self.sweep_at = Some(self.now + limits::SWEEP);
        }
    }

    /// Gives free seats to those who wait for one.
    pub(super) fn start_waiting(&mut self) {
        while self.family.count() < self.budget.scripts {
            let Some(token) = self.queue.pop() else {
                return;
            };
            let Some(mut connection) = self.slots.take(token) else {
                continue;
            };
            if exchange::seat(self, token, &mut connection).is_ok() {
                self.go_on(token, connection);
            } else {
                self.close(token, connection);
            }
        }
    }
}
