//! Memory is bounded by constants, not by the size of what is put or read.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Command, Stdio};

use futures_util::TryStreamExt as _;
use shipway_artifacts::{Artifacts, ArtifactsConfig, S3Config};

use crate::fixtures::{MIB, World};
use crate::servers::{Server, config};

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_MEMORY";
/// Much more than what is allowed.
const SIZE: u64 = 256 * MIB;
/// Four parts of 8 MiB under way, one more of each in the hands of the HTTP client, and the program itself.
const ALLOWED: u64 = 112 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_artifact_is_put_and_read_in_little_memory() {
    let worlds = [World::directory().await, World::s3(Server::s3s()).await];
    for world in worlds {
        let file = world.folder.path().join("large");
        std::fs::File::create(&file).unwrap().set_len(SIZE).unwrap();
        let place = match &world.config {
            ArtifactsConfig::Directory(root) => format!("directory|{}", root.display()),
            ArtifactsConfig::S3(S3Config { bucket, .. }) => format!("{bucket}|{}", Server::s3s().address),
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::measured_process", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{place}|{}", file.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.wait_with_output().unwrap();
        let said = BufReader::new(out.stdout.as_slice()).lines().map_while(Result::ok);
        let peak = said.filter_map(|line| line.split_once("! ").and_then(|(_, peak)| peak.parse::<u64>().ok())).last();
        let peak = peak.expect("it says how much it took");
        println!("{}: {} MiB at most, of an artifact of {} MiB", world.name, peak / MIB, SIZE / MIB);
        assert!(peak < ALLOWED, "{}: {} MiB", world.name, peak / MIB);
    }
}

/// No test: the process that is measured.
#[test]
fn measured_process() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program something")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.splitn(3, '|');
    let (place, at, file) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let config = match place {
        "directory" => ArtifactsConfig::Directory(at.into()),
        bucket => ArtifactsConfig::S3(config(bucket, at.parse().unwrap())),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let artifacts = Artifacts::open(&config).await.unwrap();
        let stored = artifacts.put(file.as_ref()).await.unwrap();
        let reading = artifacts.read(&stored, None).await.unwrap();
        let read = reading.try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64)).await.unwrap();
        assert_eq!(read, SIZE);
    });
    let mut status = String::new();
    std::fs::File::open("/proc/self/status").unwrap().read_to_string(&mut status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("! {}", kib * 1024);
}
