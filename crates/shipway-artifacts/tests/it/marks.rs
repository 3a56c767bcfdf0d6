//! The marks of who removes in S3, and what a killed one leaves.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use shipway_artifacts::{ArtifactError, Stored};
use shipway_testkit::s3::{Fault, Proxy};

use crate::fixtures::{MIB, World, content, fresh_name, wait_until};
use crate::servers::Server;

const HOUR: Duration = Duration::from_secs(3600);

/// An artifact in a bucket whose folder we can reach into.
struct Kept {
    world: World,
    proxy: Proxy,
    stored: Stored,
    file: PathBuf,
    folder: PathBuf,
}

async fn kept() -> Kept {
    let server = Server::s3s();
    let proxy = Proxy::before(server.address).await;
    let bucket = fresh_name();
    let world = World::new(server.name, server.bucket(&bucket, proxy.address)).await;
    let file = world.file("file", &content(2 * MIB, 1));
    let stored = world.artifacts.put(&file).await.unwrap();
    let folder = server.folder().join(bucket).join("artifacts/sha256").join(&stored.digest.hex()[..2]);
    Kept { world, proxy, stored, file, folder }
}

impl Kept {
    /// A remover's mark, of so long ago.
    fn mark(&self, age: Duration) -> PathBuf {
        let path = self.folder.join(format!("{}.doomed.somebody", self.stored.digest.hex()));
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    }

    fn lists(&self) -> usize {
        self.proxy.count(|seen| seen.query.contains("list-type=2"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_it_waits_until_the_remover_is_done() {
    let kept = kept().await;
    let mark = kept.mark(Duration::ZERO);
    kept.proxy.forget();
    let removing = async {
        let looked = tokio::task::spawn_blocking({
            let mut book = kept.proxy.counter(|seen| seen.query.contains("list-type=2"));
            move || wait_until("it was looked for the mark, twice", || book() >= 2)
        });
        looked.await.unwrap();
        fs::remove_file(&mark).unwrap();
    };
    let (touched, ()) = tokio::join!(kept.world.artifacts.touch(&kept.stored), removing);
    assert!(touched.unwrap(), "the remover has let it be");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_a_killed_remover_counts_for_nothing_after_a_while() {
    let kept = kept().await;
    let mark = kept.mark(HOUR);
    kept.proxy.forget();
    assert!(kept.world.artifacts.touch(&kept.stored).await.unwrap());
    assert_eq!(kept.lists(), 1, "nobody was waited for");
    assert!(!kept.world.artifacts.remove_unless_touched(&kept.stored.digest, SystemTime::now() - HOUR).await.unwrap());
    assert!(kept.world.artifacts.remove_unless_touched(&kept.stored.digest, SystemTime::now() + HOUR).await.unwrap());
    assert!(!mark.exists(), "it went with the artifact");
    assert_eq!(kept.world.artifacts.list(None, 10).await.unwrap().kept, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_cut_off_is_ended_by_the_next() {
    let kept = kept().await;
    let artifacts = &kept.world.artifacts;
    let future = SystemTime::now() + HOUR;
    kept.proxy.order(u32::MAX, Fault::Refuse, |seen| seen.is("DELETE", ".chunks"));
    let error = artifacts.remove_unless_touched(&kept.stored.digest, future).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    kept.proxy.calm();
    // The artifact itself went first.
    let listed = artifacts.list(None, 10).await.unwrap().kept;
    assert!(listed.len() == 1 && !listed[0].whole, "{listed:?}");
    let error = artifacts.read(&kept.stored, None).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Missing { .. }), "{error}");
    assert!(!artifacts.touch(&kept.stored).await.unwrap());
    assert!(artifacts.remove_unless_touched(&kept.stored.digest, future).await.unwrap());
    assert_eq!(artifacts.list(None, 10).await.unwrap().kept, []);
    artifacts.put(&kept.file).await.unwrap();
    assert!(artifacts.touch(&kept.stored).await.unwrap());
}
