//! The first process: starts nginx and fcgiwrap, keeps them running, and reaps.
//!
//! nginx takes the listening socket over as it would from an nginx before it: the
//! variable `NGINX` names the descriptor, and a `listen` line names the same address.
//! Asked to stop (SIGTERM), nginx is asked to finish what is in flight; asked again, or
//! when the longest request must be over, everything ends. The end of nginx is the end
//! of the container; fcgiwrap is started again, because a script can kill it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix};
use rustix::process::{Pid, Resource, Signal, WaitIdOptions, getrlimit, kill_process};
use std::os::unix::process::CommandExt;

use crate::cgi::program::Program;
use crate::config::{Config, Kind, Variable};
use crate::content;
use crate::family::{self, Family};
use crate::nginx::conf::{self, Facts};
use crate::nginx::home::{Home, SCRIPT, SERVER};
use crate::nginx::watch::Watch;
use crate::nginx::{DATA, HOME, WRAPPER};
use crate::server::limits;
use crate::server::log::Log;
use crate::sys::{self, Ending};

/// Where distributions put the two programs.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Most seats: each is a process of fcgiwrap's, idle or not.
const SEATS_MAX: usize = 256;

/// Most connections of nginx's one worker, unless fewer files may be open.
const CONNECTIONS_MAX: u64 = 1024;

/// The wrappers' descriptor for the log is this or higher: well away from those that
/// fcgiwrap opens.
const LOG_FROM: i32 = 10;

/// An fcgiwrap that ends before this was not worth its start.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// How often the wait before the next start is doubled: 160 ms at most.
const DOUBLINGS_MAX: u32 = 4;

/// Size of `struct signalfd_siginfo` (signalfd(2)); the first four bytes are the number.
const SIGNAL_BYTES: usize = 128;

/// The first process at work.
#[derive(Debug)]
pub struct Init {
    config: Config,
    home: Home,
    signals: OwnedFd,
    family: Family,
    log: Log,
    nginx: Pid,
    /// One for each seat; `None` while it is to be started again.
    fcgiwrap: Vec<Option<Pid>>,
    seats: Option<Seats>,
    sweep_at: Option<Instant>,
    again_at: Option<Instant>,
    /// How many in a row did not live long.
    short_lives: u32,
    filled_at: Instant,
    draining_until: Option<Instant>,
    has_ended: Option<Ending>,
}

/// What fcgiwrap is started with, and who minds its wrappers.
#[derive(Debug)]
struct Seats {
    program: PathBuf,
    socket: OwnedFd,
    log: OwnedFd,
    watch: Watch,
}

impl Init {
    /// Reads the environment, takes over descriptor 3, and starts everything.
    ///
    /// # Errors
    ///
    /// A variable that does not fit, no listening socket, no nginx, or any error of
    /// making what they need.
    pub fn open() -> io::Result<Self> {
        let variables: Vec<Variable> = std::env::vars_os().collect();
        let mut config = Config::from_environment(variables.iter()).map_err(io::Error::other)?;
        config.concurrency = config.concurrency.min(SEATS_MAX);
        let path = std::env::var_os(HOME).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = Home::at(path.ok_or_else(|| io::Error::other(format!("{HOME} must be an absolute path")))?);
        let listener = sys::announced_listener()?;
        let signals = sys::take_signals()?;
        let family = Family::open()?;
        let program = find("nginx")?;
        home.make()?;
        if let Some(data) = std::env::var_os(DATA).map(PathBuf::from).filter(|path| path.exists()) {
            home.give(&data, SCRIPT, 0o770)?;
        }
        let seats = match config.kind {
            Kind::Static => None,
            Kind::Script => Some(Seats::make(&home, &config, &variables)?),
        };
        write_conf(&home, &config, &listener, seats.as_ref())?;
        let nginx = start_nginx(&program, &home, &listener)?;
        let mut init = Self {
            fcgiwrap: vec![None; if seats.is_some() { config.concurrency } else { 0 }],
            config,
            home,
            signals,
            family,
            log: Log::default(),
            nginx,
            seats,
            sweep_at: None,
            again_at: None,
            short_lives: 0,
            filled_at: Instant::now(),
            draining_until: None,
            has_ended: None,
        };
        init.family.adopt(nginx, family::marker(), 0);
        init.fill_seats()?;
        Ok(init)
    }

    /// Keeps things running until SIGTERM, and until what was in flight then is done.
    ///
    /// # Errors
    ///
    /// nginx ended by itself, or waiting failed.
    pub fn run(mut self) -> io::Result<()> {
        while self.has_ended.is_none() && !self.is_overdue() {
            self.wait()?;
            self.take_signals();
            self.on_time(Instant::now());
            self.log.flush();
        }
        self.family.end_all();
        match (self.draining_until, self.has_ended) {
            (None, Some(Ending::Exited(status))) => {
                Err(io::Error::other(format!("nginx ended by itself: exit status {status}")))
            }
            (None, Some(Ending::Killed(signal))) => {
                Err(io::Error::other(format!("nginx was killed by signal {signal}")))
            }
            _ => Ok(()),
        }
    }

    fn is_overdue(&self) -> bool {
        self.draining_until.is_some_and(|limit| Instant::now() >= limit)
    }

    fn wait(&self) -> io::Result<()> {
        let watch = self.seats.as_ref().map(|seats| &seats.watch);
        let watched = watch.into_iter().flat_map(Watch::descriptors);
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.signals.as_fd())
            .chain(watched)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let until = [self.sweep_at, self.again_at, self.draining_until, watch.and_then(Watch::next_wake)];
        let left = until.into_iter().flatten().min().map(|until| until.saturating_duration_since(Instant::now()));
        match poll(&mut fds, left.map(time).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_signals(&mut self) {
        let mut buffer = [0; SIGNAL_BYTES * 4];
        while let Ok(count @ 1..) = rustix::io::read(&self.signals, &mut buffer) {
            for signal in buffer[..count].chunks_exact(SIGNAL_BYTES) {
                if i32::from_ne_bytes([signal[0], signal[1], signal[2], signal[3]]) != libc::SIGCHLD {
                    self.drain();
                }
            }
        }
        self.reap();
    }

    /// Begins to stop: nginx refuses whoever is new and finishes what it has.
    fn drain(&mut self) {
        let now = Instant::now();
        if self.draining_until.is_some() {
            // Asked twice: now.
            self.draining_until = Some(now);
            return;
        }
        self.draining_until = Some(now + self.config.timeout + limits::DRAIN_EXTRA * 2);
        kill_process(self.nginx, Signal::QUIT).ok();
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, ending))) = sys::next_ended() {
            self.family.ended(pid);
            sys::forget(pid);
            if pid == self.nginx {
                self.has_ended = Some(ending);
            }
            if let Some(seat) = self.fcgiwrap.iter_mut().find(|seat| **seat == Some(pid)) {
                *seat = None;
                self.plan_again();
            }
        }
        self.end_stopped();
        if self.family.may_have_orphans() {
            self.sweep_at = Some(Instant::now());
        }
    }

    /// fcgiwrap is started again soon; less soon while it keeps dying, whoever kills it.
    fn plan_again(&mut self) {
        let now = Instant::now();
        let is_short = now < self.filled_at + SHORT_LIFE;
        self.short_lives = if is_short { (self.short_lives + 1).min(DOUBLINGS_MAX) } else { 0 };
        self.again_at.get_or_insert(now + limits::RETRY * (1 << self.short_lives));
    }

    /// A script can stop fcgiwrap, which would then answer nobody: it is begun anew.
    fn end_stopped(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        for pid in self.fcgiwrap.iter().flatten() {
            if let Ok(Some(_)) = rustix::process::waitid(rustix::process::WaitId::Pid(*pid), options) {
                kill_process(*pid, Signal::KILL).ok();
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        if let Some(seats) = &mut self.seats {
            let parents = &self.fcgiwrap;
            let seen = seats.watch.look(now, |pid| parents.contains(&Some(pid)));
            if seen.ended > 0 {
                // Nearly always it has left nothing; one that was killed has.
                self.sweep_at = Some(now);
            }
            if seen.killed > 0 {
                self.log.say("a wrapper outlived its request and was killed");
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = (self.family.sweep() > 0).then(|| now + limits::SWEEP);
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            if let Err(error) = self.fill_seats() {
                self.log.say(&format!("fcgiwrap cannot be started again: {error}"));
                self.again_at = Some(now + Duration::from_secs(1));
            }
        }
    }

    /// Starts fcgiwrap for every seat that has none.
    fn fill_seats(&mut self) -> io::Result<()> {
        let Some(seats) = &self.seats else {
            return Ok(());
        };
        for seat in self.fcgiwrap.iter_mut().filter(|seat| seat.is_none()) {
            let pid = seats.start(&self.home)?;
            self.family.adopt(pid, family::marker(), 0);
            *seat = Some(pid);
        }
        self.filled_at = Instant::now();
        Ok(())
    }
}

impl Seats {
    fn make(home: &Home, config: &Config, variables: &[Variable]) -> io::Result<Self> {
        let program = home.copy_hidden(&find("fcgiwrap")?)?;
        std::os::unix::fs::symlink(std::env::current_exe()?, home.file(WRAPPER))?;
        home.write_environment(variables)?;
        let limit = config.timeout + limits::STALL + limits::DRAIN_EXTRA;
        Ok(Self {
            program,
            socket: home.listen("fcgi", SERVER)?,
            log: fcntl_dupfd_cloexec(rustix::stdio::stderr(), LOG_FROM)?,
            watch: Watch::new(home.listen("watch", SCRIPT)?, config.concurrency * 2, limit)?,
        })
    }

    fn start(&self, home: &Home) -> io::Result<Pid> {
        let mut command = Command::new(&self.program);
        command.arg("-p").arg(home.file(WRAPPER)).env_clear().current_dir("/");
        command.stdin(Stdio::from(self.socket.try_clone()?));
        start(command, home, SCRIPT, &self.log)
    }
}

fn write_conf(home: &Home, config: &Config, listener: &OwnedFd, seats: Option<&Seats>) -> io::Result<()> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(CONNECTIONS_MAX);
    let text = conf::text(&Facts {
        config,
        listen: &address(listener)?,
        work: &home.file("work"),
        home: home.path(),
        fcgi: &home.file("fcgi"),
        wrapper: &home.file(WRAPPER),
        log: seats.map_or(-1, |seats| std::os::fd::AsRawFd::as_raw_fd(&seats.log)),
        connections: usize::try_from(files.min(CONNECTIONS_MAX)).unwrap_or(1024),
        obstacle: obstacle(config).as_deref(),
    });
    home.write("nginx.conf", text.as_bytes(), None).map(drop)
}

/// What stands in the way of serving. Neither content nor root file system change, so
/// the answer stays true.
fn obstacle(config: &Config) -> Option<String> {
    if let Err(why) = content::readable(&config.content) {
        return Some(why);
    }
    match config.kind {
        Kind::Static => None,
        Kind::Script => match Program::of_script(&config.content) {
            Ok(program) => program.obstacle(),
            Err(error) => Some(format!("{} cannot be read: {error}", config.content.display())),
        },
    }
}

fn start_nginx(program: &Path, home: &Home, listener: &OwnedFd) -> io::Result<Pid> {
    let mut command = Command::new(program);
    // Its built-in log would be opened before it has read where the log is.
    command.args(["-e", "stderr", "-c"]).arg(home.file("nginx.conf")).arg("-p").arg(home.file("work"));
    command.env_clear().env("NGINX", format!("{};", sys::LISTENER)).current_dir("/").stdin(Stdio::null());
    start(command, home, SERVER, listener)
}

/// Starts a child in a process group of its own, as that user, with one more descriptor.
fn start(mut command: Command, home: &Home, user: u32, passed: &OwnedFd) -> io::Result<Pid> {
    command.stdout(Stdio::null()).process_group(0);
    if home.has_users {
        // Without other groups: those are dropped with the user.
        command.uid(user).gid(user);
    }
    fcntl_setfd(passed, FdFlags::empty())?;
    let child = command.spawn();
    fcntl_setfd(passed, FdFlags::CLOEXEC)?;
    let name = command.get_program().to_string_lossy().into_owned();
    let child = child.map_err(|error| io::Error::other(format!("{name} cannot be started: {error}")))?;
    Ok(Pid::from_child(&child))
}

fn find(name: &str) -> io::Result<PathBuf> {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        io::Error::other(format!(
            "{name} is not in this root file system: the nginx runner needs the packages nginx and fcgiwrap"
        ))
    })
}

/// The socket's address, as nginx's `listen` has it.
fn address(listener: &OwnedFd) -> io::Result<String> {
    let address = rustix::net::getsockname(listener)?;
    if address.address_family() == AddressFamily::UNIX {
        let unix = SocketAddrUnix::try_from(address)?;
        let path = unix.path().ok_or_else(|| io::Error::other("the listening socket has no path"))?;
        return Ok(format!("unix:{}", path.to_string_lossy()));
    }
    let inet = std::net::SocketAddr::try_from(address)?;
    Ok(inet.to_string())
}

fn time(left: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) }
}
