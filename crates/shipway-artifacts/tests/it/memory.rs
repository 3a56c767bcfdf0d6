//! Memory is bounded by constants, not by the size of what is put or read.

use std::io::{BufRead, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use futures_util::TryStreamExt as _;
use shipway_artifacts::{Artifacts, ArtifactsConfig, Reading, S3Config};

use crate::fixtures::{MIB, World};
use crate::servers::{Server, config};

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_MEMORY";
/// Four parts of 8 MiB under way, one more of each in the hands of the HTTP client, and the program itself.
const ALLOWED: u64 = 112 * MIB;

/// Readers that have their first chunk and take no more, of the same artifact.
const SLOW: usize = 512;
/// What 64 of them fetch at a time, and buffers; without sharing they would hold 512 MiB.
const ALLOWED_SLOW: u64 = 240 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_artifact_is_put_and_read_in_little_memory() {
    peaks_are_below("one", 256 * MIB, ALLOWED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_slow_readers_hold_one_copy() {
    peaks_are_below("slow", 4 * MIB, ALLOWED_SLOW).await;
}

async fn peaks_are_below(mode: &str, size: u64, allowed: u64) {
    let worlds = [World::directory().await, World::s3(Server::s3s()).await];
    for world in worlds {
        let file = world.folder.path().join("large");
        let content = std::fs::File::create(&file).unwrap();
        content.set_len(size).unwrap();
        // No two chunks are alike.
        (0..size / MIB).for_each(|at| content.write_all_at(&at.to_le_bytes(), at * MIB).unwrap());
        let place = match &world.config {
            ArtifactsConfig::Directory(root) => format!("directory|{}", root.display()),
            ArtifactsConfig::S3(S3Config { bucket, .. }) => format!("{bucket}|{}", Server::s3s().address),
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::measured_process", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{mode}|{place}|{}", file.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.wait_with_output().unwrap();
        let said = BufReader::new(out.stdout.as_slice()).lines().map_while(Result::ok);
        let peak = said.filter_map(|line| line.split_once("! ").and_then(|(_, peak)| peak.parse::<u64>().ok())).last();
        let peak = peak.expect("it says how much it took");
        println!("{}, {mode}: {} MiB at most, of an artifact of {} MiB", world.name, peak / MIB, size / MIB);
        assert!(peak < allowed, "{}, {mode}: {} MiB", world.name, peak / MIB);
    }
}

/// No test: the process that is measured.
#[test]
fn measured_process() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program something")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.splitn(4, '|');
    let [mode, place, at, file] = [(); 4].map(|()| words.next().unwrap());
    let config = match place {
        "directory" => ArtifactsConfig::Directory(at.into()),
        bucket => ArtifactsConfig::S3(config(bucket, at.parse().unwrap())),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let artifacts = Artifacts::open(&config).await.unwrap();
        let stored = artifacts.put(file.as_ref()).await.unwrap();
        if mode == "one" {
            assert_eq!(read_on(artifacts.read(&stored, None).await.unwrap()).await, stored.size_bytes);
            return;
        }
        let open = (0..SLOW).map(|_| artifacts.read(&stored, None));
        let mut slow = futures_util::future::try_join_all(open).await.unwrap();
        let last = slow.pop().unwrap();
        let (whole, size) = (read_on(last).await, stored.size_bytes);
        assert_eq!(whole, size, "the others are in nobody's way");
        let rest = futures_util::future::join_all(slow.into_iter().map(read_on)).await;
        assert!(rest.iter().all(|read| *read == size));
    });
    let mut status = String::new();
    std::fs::File::open("/proc/self/status").unwrap().read_to_string(&mut status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("! {}", kib * 1024);
}

async fn read_on(reading: Reading) -> u64 {
    reading.try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64)).await.unwrap()
}
