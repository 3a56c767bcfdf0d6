//! A launcher with folders and cgroups of its own, and what can be asked of them.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::net::SocketType;
use shipway_shim::protocol::{
    Answer, Ask, CONTROL_SOCKET, Cgroup, EXIT_FILE, Exit, Launch, Launched, LogLimits, Network, Process, Root, Run,
    Tmpfs, VERSION,
};

use crate::socket;

/// Longest wait for anything a test expects; on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The v1 controllers that containers join here.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Programs of the containers' root.
const APPLETS: [&str; 40] = [
    "sh", "true", "false", "cat", "ls", "sleep", "id", "ps", "mount", "echo", "grep", "ip", "nc", "wc", "dd", "head",
    "mkdir", "touch", "kill", "stty", "tty", "tr", "seq", "hostname", "df", "stat", "umask", "readlink", "printf",
    "rm", "mknod", "chmod", "env", "pwd", "test", "yes", "sync", "awk", "date", "unshare",
];

/// The program under test: this build's, or the one named when the tests were compiled,
/// such as the static one that `shipway-static` has made.
const PROGRAM: &str = match option_env!("SHIPWAY_TEST_SHIM") {
    Some(program) => program,
    None => env!("CARGO_BIN_EXE_shipway-shim"),
};

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    launcher: Child,
    socket: Option<OwnedFd>,
    name: String,
    next: AtomicU32,
}

/// A container that was started.
pub(crate) struct Container {
    pub(crate) run: Run,
    pub(crate) state_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[], Some(&filter()))
    }

    /// A launcher whose containers keep their state on a tmpfs with these options.
    pub(crate) fn on_a_disk(options: &str) -> Self {
        Self::make(&[], Some(&filter()), Some(options))
    }

    /// A launcher with further arguments, and this seccomp program.
    pub(crate) fn with(arguments: &[&str], filter: Option<&[u8]>) -> Self {
        Self::make(arguments, filter, None)
    }

    fn make(arguments: &[&str], filter: Option<&[u8]>, disk: Option<&str>) -> Self {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("shipway-shim-test-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new().prefix("shim").tempdir_in("/tmp").expect("a folder");
        make_root(&folder.path().join("root"));
        let state = folder.path().join("state");
        fs::create_dir(&state).expect("a folder");
        if let Some(options) = disk {
            let options = std::ffi::CString::new(options).expect("options");
            rustix::mount::mount(
                "shim-test",
                &state,
                "tmpfs",
                rustix::mount::MountFlags::empty(),
                Some(options.as_c_str()),
            )
            .expect("a tmpfs");
        }
        let (ours, theirs) = socket::pair();
        let launcher = start_launcher(&theirs, folder.path(), arguments, filter);
        Self { folder, launcher, socket: Some(ours), name, next: AtomicU32::new(1) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The launcher's process.
    pub(crate) fn launcher(&self) -> i32 {
        i32::try_from(self.launcher.id()).expect("a process's number")
    }

    /// Kills the launcher as the kernel's killer would.
    pub(crate) fn kill_launcher(&mut self) {
        self.launcher.kill().expect("the launcher is ours to kill");
        self.launcher.wait().expect("the launcher is ours to wait for");
    }

    /// Hangs up on the launcher, as an engine that is gone.
    pub(crate) fn hang_up(&mut self) {
        drop(self.socket.take());
        self.launcher.wait().expect("the launcher ends");
    }

    /// A launch of `sh -c script` with cgroups and folders of its own.
    pub(crate) fn launch(&self, script: &str) -> Launch {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("c{number}");
        let (state_dir, run_dir) =
            (self.folder.path().join("state").join(&id), self.folder.path().join("run").join(&id));
        for folder in [&state_dir, &run_dir] {
            fs::create_dir_all(folder).expect("a folder");
        }
        Launch {
            version: VERSION,
            id: id.clone(),
            state_dir,
            run_dir,
            root: Root::Tree { path: self.root(), scratch: Tmpfs { size_bytes: 16 << 20, inodes: 4096 } },
            id_base: 0x4000_0000 + number * 65_536,
            hostname: "inside".into(),
            binds: Vec::new(),
            files: Vec::new(),
            process: process(&["sh", "-c", script]),
            cgroups: self.cgroups(&id),
            network: Network::None { address: None },
            dialer: None,
            listener: false,
            log: LogLimits { segment_bytes: 1 << 20, segments: 4 },
            gate_ms: None,
        }
    }

    fn cgroups(&self, id: &str) -> Vec<Cgroup> {
        let v1 = CONTROLLERS.iter().map(|controller| (format!("/sys/fs/cgroup/{controller}"), false));
        let v2 = [("/sys/fs/cgroup/unified".to_owned(), true)];
        let pure_v2 = [("/sys/fs/cgroup".to_owned(), true)];
        let is_pure = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
        let hierarchies: Vec<_> = if is_pure { pure_v2.into() } else { v1.chain(v2).collect() };
        let existing = hierarchies.into_iter().filter(|(path, _)| Path::new(path).exists());
        existing
            .map(|(hierarchy, v2)| {
                let path = Path::new(&hierarchy).join(&self.name).join(id);
                if is_pure {
                    // There the memory limit is the parent's to hand down.
                    let parent = Path::new(&hierarchy).join(&self.name);
                    fs::create_dir_all(&parent).expect("a cgroup");
                    put(&Path::new(&hierarchy).join("cgroup.subtree_control"), b"+memory");
                    put(&parent.join("cgroup.subtree_control"), b"+memory");
                }
                fs::create_dir_all(&path).expect("a cgroup");
                Cgroup { path, v2 }
            })
            .collect()
    }

    pub(crate) fn start(&self, launch: &Launch) -> Container {
        match self.try_start(launch, None) {
            Launched::Running(run) => {
                Container { run, state_dir: launch.state_dir.clone(), run_dir: launch.run_dir.clone() }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_start(&self, launch: &Launch, listener: Option<BorrowedFd<'_>>) -> Launched {
        let text = serde_json::to_vec(launch).expect("a launch is JSON");
        let (answer, _) = self.try_raw(&text, listener).expect("an answer");
        serde_json::from_slice(&answer).expect("an answer of the protocol")
    }

    /// Sends any bytes and returns what comes back on the reply socket.
    pub(crate) fn try_raw(&self, bytes: &[u8], listener: Option<BorrowedFd<'_>>) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
        socket::receive(self.send(bytes, listener))
    }

    /// Sends any bytes and returns the reply socket.
    pub(crate) fn send(&self, bytes: &[u8], listener: Option<BorrowedFd<'_>>) -> OwnedFd {
        let (ours, theirs) = socket::pair();
        let beside: Vec<_> = [theirs.as_fd()].into_iter().chain(listener).collect();
        let launcher = self.socket.as_ref().expect("connected");
        socket::send(launcher, bytes, &beside).expect("the launcher listens");
        ours
    }

    /// Runs a script to its end; returns its log's text and how it ended.
    pub(crate) fn run(&self, launch: &Launch) -> (String, Exit) {
        let container = self.start(launch);
        let exit = container.wait();
        (container.text(), exit)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.socket.take());
        drop(self.launcher.kill());
        drop(self.launcher.wait());
        for hierarchy in CONTROLLERS.iter().chain(&["unified", "."]) {
            let parent = Path::new("/sys/fs/cgroup").join(hierarchy).join(&self.name);
            let Ok(children) = fs::read_dir(&parent) else { continue };
            for child in children.flatten().filter(|child| child.path().is_dir()) {
                end_all_of(&child.path());
                wait_until("the cgroup is empty", || fs::remove_dir(child.path()).is_ok() || !child.path().exists());
            }
            drop(fs::remove_dir(&parent));
        }
        let state = self.folder.path().join("state");
        if rustix::mount::unmount(&state, rustix::mount::UnmountFlags::DETACH).is_err() {
            // Most tests have no disk of their own there.
        }
    }
}

/// Kills what a failed test has left in a cgroup.
fn end_all_of(cgroup: &Path) {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
        if rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_err() {
            // It has ended by itself.
        }
    }
}

impl Container {
    /// Waits for its end and returns what `exit.json` says.
    pub(crate) fn wait(&self) -> Exit {
        let path = self.state_dir.join(EXIT_FILE);
        wait_until("exit.json is there", || path.exists());
        serde_json::from_slice(&fs::read(path).unwrap()).expect("exit.json is one")
    }

    /// Waits until its shim is gone, and so has recorded its end.
    pub(crate) fn gone(&self) {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let shim = Pid::from_raw(self.run.shim.pid).expect("a process");
        // An error is a shim that is gone already.
        if let Ok(shim) = pidfd_open(shim, PidfdFlags::empty()) {
            let mut ready = [rustix::event::PollFd::new(&shim, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut ready, None).expect("it can be waited for");
        }
    }

    /// The text of all its log's lines, one a line, without time and stream.
    pub(crate) fn text(&self) -> String {
        let lines = self.log();
        lines.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or("?")).collect::<Vec<_>>().join("\n")
    }

    /// All segments of its log, as they are.
    pub(crate) fn log(&self) -> String {
        let Ok(folder) = fs::read_dir(self.state_dir.join("log")) else {
            return String::new();
        };
        let mut segments: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
        segments.sort();
        segments.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    /// Waits until its log has `words`.
    pub(crate) fn wait_for(&self, words: &str) {
        wait_until(words, || self.log().contains(words));
    }

    pub(crate) fn connect(&self) -> OwnedFd {
        socket::connect_to(&self.run_dir.join(CONTROL_SOCKET), SocketType::SEQPACKET).expect("the shim listens")
    }

    /// Asks one question on a connection of its own.
    pub(crate) fn ask(&self, ask: &Ask) -> Answer {
        let connection = self.connect();
        tell(&connection, ask, &[]);
        answer(&connection).0
    }

    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.run.init.pid)
    }

    /// Kills it and waits.
    pub(crate) fn end(&self) {
        assert_eq!(self.ask(&Ask::Kill), Answer::Done);
        self.wait();
    }
}

pub(crate) fn tell(connection: &OwnedFd, ask: &Ask, beside: &[BorrowedFd<'_>]) {
    let text = serde_json::to_vec(ask).expect("a question is JSON");
    socket::send(connection, &text, beside).expect("the shim listens");
}

pub(crate) fn answer(connection: &OwnedFd) -> (Answer, Vec<OwnedFd>) {
    let (bytes, beside) = socket::receive(connection).expect("an answer");
    (serde_json::from_slice(&bytes).expect("an answer of the protocol"), beside)
}

/// Whether a process exists and is not just waiting to be reaped.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        // The condition is looked at again; nothing is assumed of how long it takes.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Writes to a file, which is made if missing.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("it can be written");
}

/// A process with no capability and the usual environment.
pub(crate) fn process(argv: &[&str]) -> Process {
    Process {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec!["PATH=/bin".into(), "HOME=/".into()],
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        capabilities: 0,
        rlimits: Vec::new(),
        terminal: false,
    }
}

/// A program that lets everything pass but swapon(2), which answers ENOTBLK: no
/// privilege is missing then, it was the filter.
pub(crate) fn filter() -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SWAPON: u32 = 167;
    const ENOTBLK: u32 = 15;
    let program: [(u16, u8, u8, u32); 4] = [
        (LOAD, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, SWAPON),
        (RETURN, 0, 0, 0x0005_0000 | ENOTBLK),
        (RETURN, 0, 0, 0x7fff_0000),
    ];
    let bytes = |(code, yes, no, value): (u16, u8, u8, u32)| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([yes, no]);
        bytes.extend(value.to_ne_bytes());
        bytes
    };
    program.into_iter().flat_map(bytes).collect()
}

/// A root of one static program under many names, with a host image's empty folders.
fn make_root(root: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
    let busybox =
        busybox.iter().find(|path| path.exists()).expect("no busybox on this host: apt-get install -y busybox-static");
    for folder in ["bin", "etc", "dev", "proc", "sys", "tmp", "run", "var/tmp", "data", "srv", ".shipway"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox can be copied");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    for file in ["resolv.conf", "hosts", "hostname"] {
        fs::File::create(root.join("etc").join(file)).expect("a file");
    }
    for path in [root.to_owned(), root.join("bin/busybox")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
}

#[expect(unsafe_code, reason = "std has no safe way to place descriptors before exec")]
fn start_launcher(socket: &OwnedFd, folder: &Path, arguments: &[&str], filter: Option<&[u8]>) -> Child {
    let memory = rustix::fs::memfd_create("seccomp", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
    rustix::io::write(&memory, filter.unwrap_or_default()).expect("a small file");
    let (socket, memory) = (socket.as_raw_fd(), memory);
    let program = memory.as_raw_fd();
    let mut command = Command::new(PROGRAM);
    command.arg("launcher").args(arguments).arg(folder).stdin(Stdio::null());
    // SAFETY: dup2 is async-signal-safe; the sources are moved out of the way first, so
    // that neither is overwritten by the other's copy.
    unsafe {
        command.pre_exec(move || {
            let socket = libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 100);
            let program = libc::fcntl(program, libc::F_DUPFD_CLOEXEC, 100);
            if libc::dup2(socket, 3) < 0 || libc::dup2(program, 4) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            // A descriptor of the engine's that it forgot to close.
            libc::dup2(2, 77);
            Ok(())
        });
    }
    command.spawn().expect("the launcher starts")
}
