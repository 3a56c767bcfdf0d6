//! A process is killed in the middle of a put, at points spread over all of it: then the artifact is whole or not there, and the next put
//! ends well.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use shipway_artifacts::{Artifacts, ArtifactsConfig, S3Config};

use crate::fixtures::{MIB, World, collect, content, sha256, wait_until};
use crate::servers::{Server, config};

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_PUT";
const ROUNDS: u32 = 6;

/// What the other process needs to know, in one line.
fn told(world: &World) -> String {
    match &world.config {
        ArtifactsConfig::Directory(root) => format!("directory|{}", root.display()),
        ArtifactsConfig::S3(S3Config { bucket, endpoint, .. }) => {
            format!("{bucket}|{}", endpoint.as_deref().unwrap().trim_start_matches("http://"))
        }
    }
}

/// Another process that puts a file; it has begun when this returns.
fn start(world: &World, file: &std::path::Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::putting_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{}|{}", told(world), file.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("! begins")), "it ended early");
    // What it has still to say must find somebody.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// No test: what [`start`] runs.
#[test]
fn putting_process() {
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
        println!("! begins");
        artifacts.put(file.as_ref()).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_killed_leaves_it_whole_or_not_there() {
    for world in [World::directory().await, World::s3(Server::s3s()).await, World::s3(Server::moto()).await] {
        let first = world.file("first", &content(18 * MIB, 0));
        let begun = Instant::now();
        assert!(start(&world, &first).wait().unwrap().success());
        let takes = begun.elapsed();
        let (mut there, mut missing) = (0, 0);
        for round in 0..ROUNDS {
            let content = content(18 * MIB, round as u8 + 1);
            let file = world.file("file", &content);
            let begun = Instant::now();
            let mut child = start(&world, &file);
            let point = takes * round / ROUNDS;
            wait_until("it is time to kill it", || begun.elapsed() >= point);
            child.kill().unwrap();
            child.wait().unwrap();

            let kept = world.artifacts.list(None, 1000).await.unwrap().kept;
            let whole = kept.iter().any(|kept| kept.digest == sha256(&content) && kept.whole);
            if whole {
                there += 1;
            } else {
                missing += 1;
            }
            // Opened anew, as after a restart.
            let artifacts = Artifacts::open(&world.config).await.unwrap();
            let measured = shipway_artifacts::measure::measure(&file).await.unwrap();
            if whole {
                let (read, error) = collect(artifacts.read(&measured.stored, None).await.unwrap()).await;
                assert!(error.is_none() && read == content, "{} {round}: {error:?}", world.name);
            }
            let stored = artifacts.put(&file).await.unwrap();
            let (read, error) = collect(artifacts.read(&stored, None).await.unwrap()).await;
            assert!(error.is_none() && read == content, "{} {round}: {error:?}", world.name);
            assert!(!file.with_extension("upload").exists(), "{} {round}: a journal was left", world.name);
            if let ArtifactsConfig::Directory(root) = &world.config {
                assert_eq!(std::fs::read_dir(root.join("partial")).unwrap().count(), 0, "{round}");
            }
        }
        println!(
            "{}: of {ROUNDS} kills {missing} before it was there, {there} after; a put took {takes:?}",
            world.name
        );
    }
}
