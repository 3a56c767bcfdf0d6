//! One request's script, run for fcgiwrap.
//!
//! fcgiwrap executes this program in the script's place, for every request. It starts
//! the script as the native runner would, holds its output until it has exited or
//! 64 KiB have come, keeps its limits, and ends what it leaves behind: it is a
//! subreaper, so whoever loses a parent below it becomes its own child.
//!
//! fcgiwrap gives a request's variables as environment, its body as stdin, and two
//! pipes; the connection to nginx stays open in its child, which is how the end of a
//! visitor is noticed. It passes the end of output on as the end of an answer, however
//! that came about. So an answer that must break off is ended by killing fcgiwrap,
//! which closes the connection in the middle of a record; it is started again.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::FileType;
use rustix::process::{Pid, Signal};

use crate::cgi::environment::Base;
use crate::config::{self, Config, Variable};
use crate::http::head::Head;
use crate::nginx::home::Home;
use crate::nginx::{HOME, LOG};
use crate::sys;

pub mod reply;
pub mod request;
pub mod run;
pub mod spool;

use run::{Outcome, Run};

/// Highest descriptor that is looked for among those inherited.
const INHERITED_MAX: i32 = 64;

/// What came with the start.
#[derive(Debug)]
pub struct Wrapper {
    config: Config,
    base: Base,
    variables: Vec<Variable>,
    /// To nginx, shared with fcgiwrap.
    connection: Option<OwnedFd>,
    /// To the first process, as long as this one lives.
    watch: UnixStream,
    /// Our parent, which is killed to break an answer off.
    fcgiwrap: Option<Pid>,
}

/// Runs the script of the request that this process was started for.
///
/// # Errors
///
/// It was not started by fcgiwrap as the first process started that.
pub fn run() -> io::Result<()> {
    let began = Instant::now();
    let wrapper = Wrapper::open()?;
    let fcgiwrap = wrapper.fcgiwrap;
    match Run::begin(wrapper, began)?.go()? {
        Outcome::Answered | Outcome::Gone => {}
        Outcome::Broken => {
            if let Some(fcgiwrap) = fcgiwrap {
                rustix::process::kill_process(fcgiwrap, Signal::KILL).ok();
            }
        }
    }
    Ok(())
}

impl Wrapper {
    fn open() -> io::Result<Self> {
        let variables: Vec<Variable> = std::env::vars_os().collect();
        let find = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let missing = |name: &str| io::Error::other(format!("{name} is missing: this is for fcgiwrap to start"));
        let home = find(HOME).map(PathBuf::from).ok_or_else(|| missing(HOME))?;
        let log = find(LOG).and_then(|text| text.to_str()?.parse().ok()).ok_or_else(|| missing(LOG))?;
        let connection = take_descriptors(log)?;
        let home = Home::at(home);
        let given = home.environment()?;
        let config = Config::from_environment(given.iter()).map_err(io::Error::other)?;
        let own = given.into_iter().filter(|(name, _)| !config::is_ours(name));
        Ok(Self {
            config,
            base: Base::new(own),
            connection,
            watch: UnixStream::connect(home.file("watch"))?,
            fcgiwrap: rustix::process::getppid(),
            variables,
        })
    }

    fn head(&self) -> Result<Head, crate::http::head::Refusal> {
        request::head(&self.variables)
    }
}

/// Makes the container's log our stderr, keeps every descriptor out of the script, and
/// returns the connection to nginx.
fn take_descriptors(log: i32) -> io::Result<Option<OwnedFd>> {
    let mut connection = None;
    for number in inherited(Path::new("/proc/self/fd"))? {
        let Some(fd) = sys::take_inherited(number) else {
            continue;
        };
        if number == log {
            rustix::stdio::dup2_stderr(&fd)?;
        } else if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Socket {
            connection = Some(fd);
        }
    }
    Ok(connection)
}

/// The numbers of the descriptors that are open, beside the three standard ones.
fn inherited(folder: &Path) -> io::Result<Vec<i32>> {
    // Its own descriptor is among them, and closed again when this returns.
    let directory = fs::File::open(folder)?;
    let own = directory.as_raw_fd();
    let open = (sys::LISTENER..=INHERITED_MAX).filter(|number| *number != own);
    Ok(open.filter(|number| folder.join(number.to_string()).symlink_metadata().is_ok()).collect())
}
