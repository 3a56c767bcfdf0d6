//! The real origins: Debian's nginx, and the servers that come with Python, Node
//! and Go. `scripts/setup.sh test` brings them; one that is missing is a failure.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use shipway_proxy::{Endpoint, RouteState};

use crate::support::*;

/// A server that thousands of services are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RealOrigin {
    Nginx,
    Python,
    Node,
    Go,
}

/// One that runs; ended when dropped.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
    pub(super) endpoint: Endpoint,
}

impl RealOrigin {
    /// What it makes of a path.
    pub(super) fn reads(self, path: &str) -> String {
        // Python takes `//host` for a trap of somebody else's.
        let is_double = self == Self::Python && path.starts_with("//");
        if is_double { format!("/{}", path.trim_start_matches('/')) } else { path.to_owned() }
    }

    /// Starts it as the service `hello`.
    pub(super) fn start(self, world: &World) -> Running {
        let (socket, log) = (world.path("origin.sock"), world.path("origin.log"));
        let mut command = match self {
            Self::Nginx => nginx(world, &socket, &log),
            Self::Python => script("python3", "origin.py", &socket, &log),
            Self::Node => script("node", "origin.js", &socket, &log),
            Self::Go => {
                let mut command = Command::new(go_origin());
                command.args([&socket, &log]);
                command
            }
        };
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("{self:?} is needed ({error}): scripts/setup.sh test installs it");
        });
        wait_until("the origin listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        let endpoint = Endpoint::Unix { path: socket.to_str().unwrap().to_owned() };
        world.route("hello", RouteState::Live { endpoint: endpoint.clone() });
        Running { child, log, endpoint }
    }
}

impl Running {
    /// A line for each request it has seen: method, target, id.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not a kill: nginx's master ends its worker.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        drop(self.child.wait());
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/origins").join(name)
}

fn script(program: &str, name: &str, socket: &Path, log: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(source(name)).args([socket, log]);
    command
}

fn nginx(world: &World, socket: &Path, log: &Path) -> Command {
    let root = world.dir.path();
    let (folder, socket, log) = (root.display(), socket.display(), log.display());
    let config = format!(
        "worker_processes 1;\nuser root;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  log_format seen '$request_method $request_uri $http_x_request_id';\n  access_log {log} seen;\n\
         server {{ listen unix:{socket}; return 200 'seen $request_method $request_uri $http_x_request_id;'; }}\n}}\n"
    );
    let path = world.path("nginx.conf");
    shipway_stdx::fs::write_atomic(&path, config.as_bytes(), 0o644, shipway_stdx::fs::Durability::Process).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(path).arg("-p").arg(root).stderr(Stdio::null());
    command
}

/// Builds Go's origin once; the build is kept below `target/`.
fn go_origin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-origin");
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("origin");
        let output = Command::new(go())
            .args(["build", "-o"])
            .args([&program, &source("origin.go")])
            .env("GOCACHE", folder.join("cache"))
            .env("GOPATH", folder.join("path"))
            .env("GOENV", "off")
            .env("GOFLAGS", "")
            .env("GOTOOLCHAIN", "local")
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .current_dir(&folder)
            .output()
            .expect("Go is needed: scripts/setup.sh test installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    })
}

/// Go is not always on root's path.
fn go() -> &'static str {
    let known = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"];
    known.into_iter().find(|path| Path::new(path).exists()).unwrap_or("go")
}
