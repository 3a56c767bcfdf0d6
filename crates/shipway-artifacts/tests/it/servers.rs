//! Two real S3 servers, each a process of its own: `s3s-fs` (this binary again, with a role to play) and
//! `moto` (Python's, of the testkit).
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
pub(crate) use shipway_testkit::s3::{ACCESS_KEY, SECRET_KEY};
use shipway_testkit::{Moto, s3};
use tempfile::TempDir;
use tokio::net::TcpListener;

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_S3S";

/// A server that runs.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Where it keeps its buckets, if they are folders.
    folder: Option<PathBuf>,
    process: Process,
}

/// What ends with us.
enum Process {
    Moto(Moto),
    S3s { _child: Child },
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
        match &self.process {
            Process::S3s { .. } => fs::create_dir(self.folder().join(name)).unwrap(),
            Process::Moto(moto) => moto.make_bucket(name).unwrap(),
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

fn start_moto() -> Server {
    let moto = Moto::start().unwrap();
    Server { name: "moto", address: moto.address(), folder: None, process: Process::Moto(moto) }
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
    Server {
        name: "s3s",
        address: address.parse().unwrap(),
        folder: Some(folder.into()),
        process: Process::S3s { _child: child },
    }
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
