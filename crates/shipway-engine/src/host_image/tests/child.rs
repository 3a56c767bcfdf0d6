//! Other processes that a test needs: this test program once more, told by its
//! environment what to do.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::fake_host::FakeHost;
use crate::host_image::{HostImageConfig, HostImages, Wanted};

/// What the child does, and where: `lock`, `build` or `real`, the host, the images.
const TASK: &str = "SHIPWAY_TEST_TASK";
const HOST: &str = "SHIPWAY_TEST_HOST";
const IMAGES: &str = "SHIPWAY_TEST_IMAGES";
/// What it prints when it has begun.
const BEGUN: &str = "begun";

/// Not a test of its own: without the variable it does nothing.
#[tokio::test]
async fn child() {
    let (Some(task), Some(host)) = (std::env::var_os(TASK), std::env::var_os(HOST)) else {
        return;
    };
    if task == "lock" {
        let lock = Path::new(&host).join("var/lib/dpkg/lock");
        let lock = std::fs::File::options().write(true).open(lock).unwrap();
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        println!("\n{BEGUN}");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let config = match task == "build" {
        true => HostImageConfig { host_root: host.into(), packages: vec![Wanted::required("shell")] },
        false => super::real_host::config(),
    };
    // What a build must not depend on.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let images = std::env::var_os(IMAGES).unwrap();
    let images = HostImages::open(images.as_ref(), config).unwrap();
    println!("\n{BEGUN}");
    images.current().await.unwrap();
}

/// A child that ends when dropped.
pub(super) struct Ending(Child, BufReader<ChildStdout>);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(std::io::copy(&mut self.1, &mut std::io::sink()));
        drop(self.0.wait());
    }
}

/// Holds dpkg's lock, as dpkg does, until dropped.
pub(super) fn hold_dpkg_lock(host: &FakeHost) -> Ending {
    start("lock", &host.root(), &host.images_dir())
}

/// Lets a child build to its end; returns how long that took.
pub(super) fn build_whole(host: &FakeHost) -> Duration {
    let begun = Instant::now();
    let mut child = start("build", &host.root(), &host.images_dir());
    std::io::copy(&mut child.1, &mut std::io::sink()).unwrap();
    assert!(child.0.wait().unwrap().success());
    begun.elapsed()
}

/// Lets a child build, and kills it after `delay` unless it has ended by then.
pub(super) fn build_and_kill(host: &FakeHost, delay: Duration) {
    let child = start("build", &host.root(), &host.images_dir());
    let pidfd = pidfd_open(Pid::from_child(&child.0), PidfdFlags::empty()).unwrap();
    let delay = Timespec::try_from(delay).unwrap();
    rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&delay)).unwrap();
}

/// Builds the image of the real host in another process and under another umask.
pub(super) fn build_real(images_dir: &Path) {
    let mut child = start("real", Path::new("/"), images_dir);
    std::io::copy(&mut child.1, &mut std::io::sink()).unwrap();
    assert!(child.0.wait().unwrap().success());
}

fn start(task: &str, host: &Path, images_dir: &Path) -> Ending {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", module()])
        .env(TASK, task)
        .env(HOST, host)
        .env(IMAGES, images_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut lines = said.by_ref().lines().map_while(Result::ok);
    assert!(lines.any(|line| line == BEGUN), "the child ended without a word");
    // Kept open: a test program that cannot print its verdict complains.
    Ending(child, said)
}

/// The child's own name among the tests.
fn module() -> &'static str {
    const PATH: &str = concat!(module_path!(), "::child");
    PATH.split_once("::").map_or(PATH, |(_, path)| path)
}
