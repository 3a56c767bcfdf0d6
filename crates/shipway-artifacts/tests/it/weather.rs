//! A tenth of all requests goes wrong, for as long as it takes: whatever ends well has ended well, and nothing
//! else is ever given out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use shipway_artifacts::{ArtifactError, Artifacts, Stored};
use shipway_testkit::s3::{Fault, Proxy, Seen};

use crate::fixtures::{MIB, World, collect, content, fresh_name};
use crate::servers::Server;

/// Artifacts, and somebody busy with each.
const BUSY: u8 = 5;
const ROUNDS: usize = 4;
const HOUR: Duration = Duration::from_secs(3600);

/// Fits two of a hundred requests, by dice of its own.
fn seldom(seed: u64) -> impl Fn() -> bool + Send {
    let state = AtomicU64::new(seed);
    move || {
        let before = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        // The finalizer of splitmix64.
        let mixed = (before ^ (before >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % 100 < 2
    }
}

fn storm(proxy: &Proxy, seed: u64) {
    let any = [Fault::SlowDown, Fault::Say(500, "InternalError"), Fault::Refuse, Fault::LoseAnswer];
    for (at, fault) in any.into_iter().enumerate() {
        let dice = seldom(seed + at as u64);
        proxy.order(u32::MAX, fault, move |_| dice());
    }
    let reads = |seen: &Seen| seen.is_read() || seen.is("GET", ".chunks");
    for (at, fault) in [Fault::Cut(700_000), Fault::Flip(50)].into_iter().enumerate() {
        let dice = seldom(seed + 10 + at as u64);
        proxy.order(u32::MAX, fault, move |seen| reads(seen) && dice());
    }
}

/// Tries until it is done; what may not pass must not come.
async fn insist<T>(what: &str, mut once: impl AsyncFnMut() -> Result<T, ArtifactError>) -> T {
    for _ in 0..20 {
        match once().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_transient(), "{what}: {error}"),
        }
    }
    panic!("{what} did not end well");
}

async fn busy(artifacts: &Artifacts, file: &std::path::Path, content: &[u8]) -> Stored {
    let mut last = None;
    for _ in 0..ROUNDS {
        let stored = insist("put", async || artifacts.put(file).await).await;
        assert!(insist("touch", async || artifacts.touch(&stored).await).await);
        let past = SystemTime::now() - HOUR;
        assert!(!insist("spare", async || artifacts.remove_unless_touched(&stored.digest, past).await).await);
        let (read, error) = match artifacts.read(&stored, None).await {
            Ok(reading) => collect(reading).await,
            Err(error) => (Vec::new(), Some(error)),
        };
        assert!(content.starts_with(&read) && (error.is_some() || read.len() == content.len()));
        assert!(error.as_ref().is_none_or(ArtifactError::is_transient), "{error:?}");
        let future = SystemTime::now() + HOUR;
        insist("remove", async || artifacts.remove_unless_touched(&stored.digest, future).await).await;
        insist("put again", async || artifacts.put(file).await).await;
        last = Some(stored);
    }
    last.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_all_requests_goes_wrong() {
    for server in Server::both() {
        let proxy = Proxy::before(server.address).await;
        let world = World::new(server.name, server.bucket(&fresh_name(), proxy.address)).await;
        storm(&proxy, 7);
        let all: Vec<_> = (0..BUSY)
            .map(|seed| {
                let content = content([1000, 3 * MIB, 17 * MIB][usize::from(seed) % 3] + u64::from(seed), seed);
                (world.file(&format!("file-{seed}"), &content), content)
            })
            .collect();
        let stored = join_all(all.iter().map(|(file, content)| busy(&world.artifacts, file, content))).await;
        let (asked, spoiled) = (proxy.count(|_| true), proxy.played());
        println!("{}: {spoiled} of {asked} requests went wrong", server.name);
        assert!(spoiled * 20 > asked, "{spoiled} of {asked}");
        proxy.calm();
        for (stored, (_, content)) in stored.iter().zip(&all) {
            let (read, error) = collect(world.artifacts.read(stored, None).await.unwrap()).await;
            assert!(error.is_none() && read == *content, "{error:?}");
        }
    }
}
