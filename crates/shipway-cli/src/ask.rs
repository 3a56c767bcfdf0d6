//! Who is asked, and in whose name.

use std::path::PathBuf;
use std::time::Duration;

use shipway_client::{Address, Client};

use crate::args::Global;
use crate::exit::Failure;

/// What the binary knows of where it runs, so that this crate need not look.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether this is root, who may open the admin socket.
    pub is_root: bool,
    /// Whether standard error is a terminal: then progress is shown.
    pub stderr_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// The admin socket of a platform on this machine.
    pub admin_socket: PathBuf,
    /// Whether there is a screen to open a browser on.
    pub has_display: bool,
}

/// Where Shipway listens unless told.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Asks the API.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) client: Client,
    pub(crate) surroundings: Surroundings,
}

/// How long a change is waited for; the API's own most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

impl Asker {
    pub(crate) fn new(global: &Global, surroundings: &Surroundings) -> Result<Self, Failure> {
        let address = match &global.url {
            Some(url) => url.parse()?,
            None if surroundings.is_root && surroundings.admin_socket.exists() => {
                Address::Unix(surroundings.admin_socket.clone())
            }
            None => DEFAULT_URL.parse()?,
        };
        let token = global.token.clone().filter(|token| !token.is_empty());
        Ok(Self { client: Client::new(address, token), surroundings: surroundings.clone() })
    }
}
