//! Starts a runner as a container would, and speaks plain HTTP to it.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running runner; stopped when dropped.
pub(crate) struct Runner {
    pub(crate) child: Child,
    pub(crate) folder: tempfile::TempDir,
}

/// Which runner: each keeps what is promised to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Our own.
    Native,
    /// Real nginx and fcgiwrap.
    Nginx,
}

impl Which {
    /// Whether the visitor can see that a script failed after its answer had begun. nginx,
    /// when it hears of the failure before it has passed anything on, says so with a 502.
    pub(crate) fn broke_off(self, answer: &Answer) -> bool {
        (answer.status == 200 && !answer.is_whole) || (self == Self::Nginx && answer.status == 502)
    }

    pub(crate) fn script(self, text: &str) -> Setup {
        Setup::new(self, "script", text.as_bytes())
    }

    pub(crate) fn file(self, content: &[u8]) -> Setup {
        Setup::new(self, "static", content)
    }
}

/// Makes two tests of each function: one for each runner.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod native {
            $(#[test] fn $name() { super::$name(crate::harness::Which::Native); })+
        }
        mod nginx {
            $(#[test] fn $name() { super::$name(crate::harness::Which::Nginx); })+
        }
    };
}

/// How a runner is started.
pub(crate) struct Setup {
    which: Which,
    content: Vec<u8>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    last: Vec<(String, String)>,
    stderr: Option<Stdio>,
    wrapper: &'static str,
}

impl Setup {
    fn new(which: Which, kind: &str, content: &[u8]) -> Self {
        let digest = format!("sha256:{DIGEST}");
        let setup = Self {
            which,
            content: content.to_vec(),
            arguments: Vec::new(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            last: Vec::new(),
            stderr: None,
            wrapper: "",
        };
        setup.with("--kind", kind).with("--digest", &digest)
    }

    pub(crate) fn with(mut self, flag: &str, value: &str) -> Self {
        match self.which {
            Which::Native => self.arguments.extend([flag.to_owned(), value.to_owned()]),
            Which::Nginx => self.environment.push((variable(flag), value.to_owned())),
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// A variable that goes before the one of its name.
    pub(crate) fn at_last(mut self, name: &str, value: &str) -> Self {
        self.last.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes it the first process of a pid namespace, as in a container.
    pub(crate) fn first_process(mut self) -> Self {
        self.wrapper = "unshare --pid --fork --mount-proc --kill-child";
        self
    }

    pub(crate) fn start(self) -> Runner {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(folder.path().join("s")).unwrap();
        self.start_on(folder, socket.into())
    }

    pub(crate) fn start_on(self, folder: tempfile::TempDir, listener: OwnedFd) -> Runner {
        let content = folder.path().join("content");
        fs::File::create(&content).unwrap().write_all(&self.content).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut setup = self.with("--content", content.to_str().unwrap());
        let (program, first) = match setup.which {
            Which::Native => (PathBuf::from(PROGRAM), "serve"),
            Which::Nginx => (setup.prepare_nginx(folder.path()), "nginx"),
        };
        // The shell moves the socket from its stdin to descriptor 3.
        let child = Command::new("/bin/sh")
            .args(["-c", &format!(r#"exec {} "$0" "$@" 3<&0 0</dev/null"#, setup.wrapper)])
            .arg(program)
            .arg(first)
            .args(&setup.arguments)
            .env_clear()
            .env("LISTEN_FDS", "1")
            .envs(setup.environment)
            .envs(setup.last)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(setup.stderr.unwrap_or_else(|| log.into()))
            .spawn()
            .unwrap();
        Runner { child, folder }
    }

    /// Scripts are another user there, who must reach the program, and whose tests write
    /// beside their script.
    fn prepare_nginx(&mut self, folder: &Path) -> PathBuf {
        let home = folder.join("home");
        self.environment.push(("SHIPWAY_HOME".to_owned(), home.to_str().unwrap().to_owned()));
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        let program = folder.join("shipway-runner");
        // By a process of its own: a child that another test starts just then would inherit the file, open for
        // writing, and until it executes something else the kernel executes no such file (ETXTBSY).
        let copied = Command::new("cp").args([PROGRAM.as_ref(), program.as_os_str()]).status().unwrap();
        assert!(copied.success(), "{copied}");
        program
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_shipway-runner");

fn variable(flag: &str) -> String {
    format!("SHIPWAY{}", flag[1..].replace('-', "_").to_ascii_uppercase())
}

impl Runner {
    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.path().join("s")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends one request on a connection of its own; `\n` stands for CR LF in its head.
    #[track_caller]
    pub(crate) fn ask(&self, head: &str) -> Answer {
        self.ask_with(head, b"")
    }

    #[track_caller]
    pub(crate) fn ask_with(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, head, body);
        Reader::new(stream, head.starts_with("HEAD")).answer()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\nHost: a"))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn content(&self) -> PathBuf {
        self.folder.path().join("content")
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        wait_for("the runner's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Runner {
    /// Asked twice, it ends at once and takes its scripts along; killed, it could not.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the runner ---\n{}", self.log());
        }
        let limit = Instant::now() + Duration::from_secs(5);
        let pid = rustix::process::Pid::from_child(&self.child);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < limit {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn send(stream: &mut UnixStream, head: &str, body: &[u8]) {
    let head = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

/// An answer as a client sees it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether its end was there.
    pub(crate) is_whole: bool,
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is given twice: {self:?}");
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads one answer after another.
pub(crate) struct Reader<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
    is_head: bool,
}

impl<S: Read> Reader<S> {
    pub(crate) const fn new(stream: S, is_head: bool) -> Self {
        Self { stream, buffer: Vec::new(), is_head }
    }

    /// Reads more; false at the end. A reset counts as an end.
    fn more(&mut self) -> bool {
        let mut piece = [0; 65_536];
        let count = match self.stream.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer in time: {error}; {} bytes so far", self.buffer.len()),
        };
        self.buffer.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// Whether the connection ends here.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.more()
    }

    /// Reads up to and including `end`; `None` when the connection ends before.
    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Takes up to `count` bytes; fewer at the end of the connection.
    fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.more() {}
        self.buffer.drain(..count.min(self.buffer.len())).collect()
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("the connection ended without an answer")
    }

    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| (line.trim_end_matches(':'), ""));
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new(), is_whole: true };
        if status >= 200 && status != 204 && status != 304 && !self.is_head {
            self.read_body(&mut answer);
        }
        Some(answer)
    }

    fn read_body(&mut self, answer: &mut Answer) {
        if let Some(length) = answer.header("Content-Length") {
            let length = length.parse().unwrap();
            answer.body = self.exactly(length);
            answer.is_whole = answer.body.len() == length;
        } else if answer.header("Transfer-Encoding").is_some() {
            answer.is_whole = self.read_chunks(&mut answer.body).is_some();
        } else {
            while self.more() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let chunk = self.exactly(size);
            body.extend_from_slice(&chunk);
            (chunk.len() == size).then_some(())?;
            (self.until(b"\r\n")? == b"\r\n").then_some(())?;
            if size == 0 {
                return Some(());
            }
        }
    }
}

/// Asks again and again until there is an answer, for a bounded time.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < limit, "{what} did not come about");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// How many processes have `word` in their command line, zombies not counted.
pub(crate) fn count_processes(word: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

/// The only child of a process.
pub(crate) fn child_of(parent: u32) -> i32 {
    let found = fs::read_dir("/proc").unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let fields = stat.rsplit(')').next()?.to_owned();
        let is_child = fields.split_ascii_whitespace().nth(1) == Some(parent.to_string().as_str());
        path.file_name()?.to_str()?.parse().ok().filter(|_| is_child)
    });
    found.unwrap()
}

/// A number of seconds nobody else sleeps for, to find a process by.
pub(crate) fn unique_seconds(salt: u32) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("9{salt}{}{:04}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}
