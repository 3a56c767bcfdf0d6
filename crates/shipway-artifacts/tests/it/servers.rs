//! Two real S3 servers, each a process of its own: `s3s-fs` (this binary again, with a role to play) and
//! `moto` (Python's, which `scripts/setup.sh` installs).
//!
//! Each is started once, serves every test with a bucket of the test's own, and ends when its standard
//! input does, that is with us, however we end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use shipway_artifacts::{ArtifactsConfig, S3Config, S3Limits, Secret};
use shipway_testkit::s3;
pub(crate) use shipway_testkit::s3::{ACCESS_KEY, SECRET_KEY};
use tempfile::TempDir;
use tokio::net::TcpListener;

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_S3S";

/// A server that runs.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Where it keeps its buckets, if they are folders.
    folder: Option<PathBuf>,
    _child: Child,
}

impl Server {
    /// Python's.
    pub(crate) fn moto() -> &'static Self {
        static MOTO: OnceLock<Server> = OnceLock::new();
        MOTO.get_or_init(start_moto)
    }

    /// Rust's.
    pub(crate) fn s3s() -> &'static Self {
        static S3S: OnceLock<Server> = OnceLock::new();
        S3S.get_or_init(start_s3s)
    }

    pub(crate) fn both() -> [&'static Self; 2] {
        [Self::s3s(), Self::moto()]
    }

    /// Where the buckets of s3s are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap()
    }

    /// Makes a bucket and says how to use it, at the server itself or at a proxy before it.
    pub(crate) fn bucket(&self, name: &str, at: SocketAddr) -> ArtifactsConfig {
        match &self.folder {
            Some(folder) => fs::create_dir(folder.join(name)).unwrap(),
            None => assert_eq!(put(&format!("http://{}/{name}", self.address)), 200),
        }
        ArtifactsConfig::S3(config(name, at))
    }
}

/// Settings that do not wait for long.
pub(crate) fn config(bucket: &str, at: SocketAddr) -> S3Config {
    let second = std::time::Duration::from_secs(1);
    S3Config {
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(format!("http://{at}")),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(SECRET_KEY.to_owned()),
        limits: S3Limits {
            connect: 10 * second,
            answer: 20 * second,
            stall: 20 * second,
            tries: 4,
            first_wait: second / 50,
        },
    }
}

/// `PUT` without a body; the answer's status. Moto asks for no signature.
fn put(url: &str) -> u16 {
    let out = Command::new("curl").args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", url]).output();
    let out = out.unwrap();
    String::from_utf8(out.stdout).unwrap().parse().unwrap()
}

fn start_moto() -> Server {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/moto/bin/python");
    assert!(python.exists(), "there is no moto: run scripts/setup.sh test");
    let program = "import os, sys, threading\n\
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n\
        from moto.server import main\n\
        main(['-H', '127.0.0.1', '-p', '0'])\n";
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("Running on http://").map(|(_, address)| address.trim().parse().unwrap()));
    // It tells of each request: somebody has to listen, or it stops.
    std::thread::spawn(move || lines.for_each(drop));
    Server { name: "moto", address: address.expect("moto says where it is"), folder: None, _child: child }
}

fn start_s3s() -> Server {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::s3s_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, "serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.find_map(|line| line.split_once("! ").map(|(_, said)| said.to_owned()));
    let said = said.expect("s3s says where it is");
    let (address, folder) = said.split_once(' ').unwrap();
    Server { name: "s3s", address: address.parse().unwrap(), folder: Some(folder.into()), _child: child }
}

/// A folder for buckets, locked by its server; those of servers that were killed are removed.
fn folder() -> (TempDir, fs::File) {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(base).unwrap() {
        let path = entry.unwrap().path();
        let lock = fs::File::open(path.join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            drop(fs::remove_dir_all(path));
        }
    }
    let folder = tempfile::Builder::new().prefix("s3s-").tempdir_in(base).unwrap();
    // Named when it is locked, so that nobody takes it for one that was left.
    let lock = fs::File::create(folder.path().join("locking")).unwrap();
    lock.lock().unwrap();
    fs::rename(folder.path().join("locking"), folder.path().join("lock")).unwrap();
    fs::create_dir(folder.path().join("buckets")).unwrap();
    (folder, lock)
}

/// No test: the server of [`start_s3s`].
#[test]
fn s3s_process() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program something")]
    let Ok(_) = std::env::var(ROLE) else { return };
    let (folder, _lock) = folder();
    tokio::runtime::Runtime::new().unwrap().block_on(serve(&folder.path().join("buckets")));
}

async fn serve(root: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("! {} {}", listener.local_addr().unwrap(), root.display());
    let owner = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        _ = owner => {}
        ended = s3::serve(listener, root) => ended.unwrap(),
    }
}
