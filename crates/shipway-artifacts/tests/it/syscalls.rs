//! Killed at every call that changes a disk, by `strace`: a put into a directory, and the making of a key.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use shipway_artifacts::sign::{Signers, SigningConfig};
use shipway_artifacts::{Artifacts, ArtifactsConfig};

use crate::fixtures::{MIB, World, collect, content, sha256};

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_SYSCALLS";
/// What makes, fills, secures, names or removes a file. The program opens others before; that is no harm.
/// A name with `?` is not on every architecture.
const CALLS: &[&str] = &[
    "write",
    "fchmod",
    "fsync",
    "flock",
    "utimensat",
    "?rename,renameat,renameat2",
    "?mkdir,mkdirat",
    "?link,linkat",
    "?unlink,unlinkat",
];
/// More calls of a kind than are made.
const CALLS_MAX: u32 = 60;

/// Runs a role, killed at the n-th call of a kind; says how it ended.
fn killed_at(role: &str, call: &str, n: u32) -> ExitStatus {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "syscalls::acting_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

/// No test: what is killed.
#[test]
fn acting_process() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program something")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let (what, paths) = role.split_once('|').unwrap();
    let (first, second) = paths.split_once('|').unwrap();
    // One thread that waits and few that work: the same calls each time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        if what == "put" {
            let artifacts = Artifacts::open(&ArtifactsConfig::Directory(first.into())).await.unwrap();
            artifacts.put(Path::new(second)).await.unwrap();
        } else {
            Signers::open(&SigningConfig { minisign_key: first.into(), openpgp: None }).await.unwrap();
        }
    });
}

/// Kills at each call of each kind until none is left; says how many kills there were.
async fn at_each_call(mut once: impl AsyncFnMut(&str, u32) -> ExitStatus) -> u32 {
    let mut kills = 0;
    for call in CALLS {
        for n in 1.. {
            assert!(n < CALLS_MAX, "{call} is called without end");
            if once(call, n).await.success() {
                break;
            }
            kills += 1;
        }
    }
    kills
}

#[tokio::test]
async fn a_put_killed_at_any_call_leaves_it_whole_or_not_there() {
    let world = World::directory().await;
    let mut seed = 0;
    let mut there = 0;
    let kills = at_each_call(async |call, n| {
        seed += 1;
        let content = content(MIB + 5, seed);
        let file = world.file("file", &content);
        let root = world.folder.path().join(format!("kept-{seed}"));
        let ended = killed_at(&format!("put|{}|{}", root.display(), file.display()), call, n);
        let artifacts = Artifacts::open(&ArtifactsConfig::Directory(root.clone())).await.unwrap();
        assert_eq!(std::fs::read_dir(root.join("partial")).unwrap().count(), 0, "{call} {n}");
        let kept = artifacts.list(None, 10).await.unwrap().kept;
        let measured = shipway_artifacts::measure::measure(&file).await.unwrap();
        if kept.iter().any(|kept| kept.whole) {
            let (read, error) = collect(artifacts.read(&measured.stored, None).await.unwrap()).await;
            assert!(error.is_none() && read == content, "{call} {n}: {error:?}");
            there += u32::from(!ended.success());
        }
        assert!(artifacts.put(&file).await.unwrap().digest == sha256(&content));
        let (read, error) = collect(artifacts.read(&measured.stored, None).await.unwrap()).await;
        assert!(error.is_none() && read == content, "{call} {n}: {error:?}");
        ended
    })
    .await;
    println!("{kills} kills, after {there} of them it was there");
    assert!(kills >= 15 && there >= 1 && there < kills, "{kills} {there}");
}

#[tokio::test]
async fn a_key_whose_making_is_killed_at_any_call_is_whole_or_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    let kills = at_each_call(async |call, n| {
        number += 1;
        let key = folder.path().join(format!("state-{number}/minisign.key"));
        let ended = killed_at(&format!("key|{}|-", key.display()), call, n);
        let config = SigningConfig { minisign_key: key, openpgp: None };
        let first = Signers::open(&config).await.unwrap();
        let again = Signers::open(&config).await.unwrap();
        assert_eq!(first.minisign_public_key(), again.minisign_public_key(), "{call} {n}");
        ended
    })
    .await;
    println!("{kills} kills");
    assert!(kills >= 5, "{kills}");
}
