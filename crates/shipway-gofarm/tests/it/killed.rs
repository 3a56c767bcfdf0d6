//! A worker that is killed in the middle of a build, and the one that comes after it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use shipway_gobuild::Phase;
use shipway_gofarm::What;
use shipway_stdx::shutdown;
use tokio::sync::mpsc;

use crate::plans::{example, plan, script};
use crate::world::{World, farm_of, open_driver};

/// Makes this program a worker in the folder that follows, until it is killed.
pub(crate) const AS_WORKER: &str = "--as-worker";

/// Builds something that never ends, and says when it has begun.
pub(crate) async fn work(folder: &Path) {
    let driver = open_driver(folder, 256 << 20).await;
    let farm = farm_of(driver.benches().unwrap().expect("configured"), "file:///nowhere");
    let (events, mut told) = mpsc::channel(10);
    let (_stop, stopped) = shutdown::channel();
    let endless = script(Phase::Build, "echo x > /go/home/left; echo begun; exec sleep 1000");
    let out = folder.join("out");
    let building = tokio::spawn(async move { farm.build(&endless, None, &out, events, stopped).await });
    while !matches!(told.recv().await.expect("it says so").what, What::Line { .. }) {}
    println!("begun");
    drop(building.await);
}

/// Killed when dropped, whatever became of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) async fn a_killed_worker_leaves_nothing_that_its_successor_does_not_clear(world: Arc<World>) {
    let folder = tempfile::TempDir::with_prefix("shipway-gofarm-killed-").unwrap();
    let program = std::env::current_exe().unwrap();
    let mut worker = Command::new(program);
    let child = worker.arg(AS_WORKER).arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut worker = Killed(child);
    let mut said = BufReader::new(worker.0.stdout.take().unwrap()).lines();
    let begun = tokio::task::spawn_blocking(move || said.next().unwrap().unwrap());
    assert_eq!(begun.await.unwrap(), "begun");
    drop(worker);
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    assert_eq!(mounts().lines().filter(|line| line.contains(&path)).count(), 2, "its disks are still there");

    let driver = open_driver(folder.path(), 256 << 20).await;
    assert!(driver.engine().list().is_empty(), "its container is gone");
    let benches = driver.benches().unwrap().expect("configured").clone();
    let look = script(Phase::Build, "ls /go/home; exit 1");
    let farm = farm_of(&benches, &example().url());
    let told = world.build_by(&farm, &look, None).await;
    told.failure();
    assert_eq!(told.text(), "", "its disk is empty");
    drop((farm, benches));
    driver.close().await;
    assert!(!mounts().contains(&path));
    // And whoever was on another engine root has noticed nothing.
    let proxy = example();
    assert_eq!(world.build(&proxy.url(), &plan(&["example.org/good"])).await.built().program, ["good\n"]);
}
