//! What holds in every place: each test runs in a directory, in s3s and in moto.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shipway_artifacts::{ArtifactError, Companion, Stored};

use crate::fixtures::{MIB, World, collect, content, sha256, wait_until};

const HOUR: Duration = Duration::from_secs(3600);

async fn put(world: &World, name: &str, content: &[u8]) -> Stored {
    world.artifacts.put(&world.file(name, content)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_read_whatever_its_size() {
    for world in World::all().await {
        for size in [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17, 20 * MIB + 3] {
            let content = content(size, 7);
            let stored = put(&world, "file", &content).await;
            assert_eq!((&stored.digest, stored.size_bytes), (&sha256(&content), size), "{}", world.name);
            let reading = world.artifacts.read(&stored, None).await.unwrap();
            assert_eq!(reading.length(), size);
            let (read, error) = collect(reading).await;
            assert!(error.is_none() && read == content, "{} {size}: {error:?}", world.name);
        }
        let left: Vec<_> =
            std::fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".upload")), "a journal was left: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_is_read_alone() {
    let size = 3 * MIB + 17;
    let whole = content(size, 1);
    for world in World::all().await {
        let stored = put(&world, "file", &whole).await;
        for (start, end) in [
            (0, 0),
            (0, 1),
            (MIB - 1, MIB + 1),
            (5, 2 * MIB + 5),
            (MIB, 2 * MIB),
            (size - 1, size),
            (size, size),
            (1, size),
        ] {
            let reading = world.artifacts.read(&stored, Some(start..end)).await.unwrap();
            assert_eq!(reading.length(), end - start);
            let (read, error) = collect(reading).await;
            let wanted = &whole[start as usize..end as usize];
            assert!(error.is_none() && read == wanted, "{} {start}..{end}: {error:?}", world.name);
        }
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is tried")]
        for range in [0..size + 1, size + 1..size + 1, 5..4] {
            let error = world.artifacts.read(&stored, Some(range)).await.unwrap_err();
            assert!(matches!(error, ArtifactError::NoSuchRange { .. }), "{error}");
        }
    }
}

/// Ranges of any kind, near the borders of chunks above all.
#[test]
fn a_part_is_that_part() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let whole = content(3 * MIB + 17, 11);
    let world = runtime.block_on(World::directory());
    let stored = runtime.block_on(put(&world, "file", &whole));
    let border = || (0_u64..4, 0_u64..3).prop_map(|(chunk, off)| (chunk * MIB + off).saturating_sub(1));
    let place = || prop_oneof![border(), 0..3 * MIB + 17];
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&(place(), place()), |(one, two)| {
        let (start, end) = (one.min(two), one.max(two));
        let (read, error) =
            runtime.block_on(async { collect(world.artifacts.read(&stored, Some(start..end)).await.unwrap()).await });
        prop_assert!(error.is_none());
        prop_assert!(read == whole[start as usize..end as usize], "{start}..{end}");
        Ok(())
    });
    tried.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_missing() {
    for world in World::all().await {
        for size in [10, 2 * MIB] {
            let content = content(size, 3);
            let elsewhere = World::directory().await;
            let stored = put(&elsewhere, "file", &content).await;
            let error = world.artifacts.read(&stored, None).await.unwrap_err();
            assert!(matches!(error, ArtifactError::Missing { .. }), "{}: {error}", world.name);
            assert!(!world.artifacts.touch(&stored).await.unwrap());
        }
        let error = world.artifacts.put(&world.folder.path().join("no file")).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Local { .. }), "{error}");
        let error = world.artifacts.put(world.folder.path()).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Local { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_put_the_same_at_once() {
    let content = content(17 * MIB, 9);
    for world in World::all().await {
        let file = world.file("file", &content);
        let other = world.file("other", &content);
        let all = join_all([&file, &other, &file, &other].map(|file| world.artifacts.put(file))).await;
        for stored in all {
            let (read, error) = collect(world.artifacts.read(&stored.unwrap(), None).await.unwrap()).await;
            assert!(error.is_none() && read == content, "{}: {error:?}", world.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn companions_stand_beside_and_may_be_replaced() {
    for world in World::all().await {
        let digest = sha256(b"an artifact that is not there yet");
        for kind in Companion::ALL {
            assert_eq!(world.artifacts.read_companion(&digest, kind).await.unwrap(), None);
            for text in ["first", "", "second"] {
                let put = world.artifacts.put_companion(&digest, kind, Bytes::from(text)).await.unwrap();
                assert_eq!(put, sha256(text.as_bytes()));
                let read = world.artifacts.read_companion(&digest, kind).await.unwrap();
                assert_eq!(read.as_deref(), Some(text.as_bytes()), "{} {kind:?}", world.name);
            }
        }
        let huge = Bytes::from(vec![0; (16 * MIB + 1) as usize]);
        let error = world.artifacts.put_companion(&digest, Companion::Sbom, huge).await.unwrap_err();
        assert!(matches!(error, ArtifactError::TooLarge { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_finds_everything_once_page_by_page() {
    for world in World::all().await {
        let mut wanted = Vec::new();
        for seed in 0..7_u8 {
            let content = content(100 + u64::from(seed), seed);
            let stored = put(&world, "file", &content).await;
            for kind in &Companion::ALL[..usize::from(seed) % 6] {
                world.artifacts.put_companion(&stored.digest, *kind, Bytes::from("12345")).await.unwrap();
            }
            wanted.push((stored.digest, 100 + u64::from(seed) + 5 * (u64::from(seed) % 6), true));
        }
        let half = sha256(b"cut off");
        world.artifacts.put_companion(&half, Companion::Checksum, Bytes::from("123")).await.unwrap();
        wanted.push((half, 3, false));
        wanted.sort();
        for limit in [1, 2, 3, 100] {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page = world.artifacts.list(after.as_ref(), limit).await.unwrap();
                assert!(page.kept.len() <= limit);
                found.extend(page.kept.into_iter().map(|kept| (kept.digest, kept.size_bytes, kept.whole)));
                assert!(found.len() <= wanted.len(), "{} {limit}: {found:?}", world.name);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, wanted, "{} {limit}", world.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_touched_stays_and_the_rest_goes_whole() {
    for world in World::all().await {
        let stored = put(&world, "file", &content(2 * MIB, 5)).await;
        world.artifacts.put_companion(&stored.digest, Companion::Minisign, Bytes::from("signature")).await.unwrap();
        let now = SystemTime::now();
        assert!(world.artifacts.touch(&stored).await.unwrap());
        let kept = world.artifacts.list(None, 10).await.unwrap().kept;
        assert_eq!(kept.len(), 1);
        let age = kept[0].touched_at.duration_since(now - HOUR).unwrap();
        assert!(age > HOUR - Duration::from_secs(60) && age < 2 * HOUR, "{}: {age:?}", world.name);

        assert!(!world.artifacts.remove_unless_touched(&stored.digest, now - HOUR).await.unwrap());
        let (_, error) = collect(world.artifacts.read(&stored, None).await.unwrap()).await;
        assert!(error.is_none());

        assert!(world.artifacts.remove_unless_touched(&stored.digest, now + HOUR).await.unwrap());
        assert!(!world.artifacts.remove_unless_touched(&stored.digest, now + HOUR).await.unwrap());
        assert!(!world.artifacts.touch(&stored).await.unwrap());
        let left = world.artifacts.read_companion(&stored.digest, Companion::Minisign).await.unwrap();
        assert_eq!(left, None, "{}", world.name);
        // A touch of what is not there may leave its mark, and nothing else.
        let kept = world.artifacts.list(None, 10).await.unwrap().kept;
        assert!(kept.iter().all(|kept| !kept.whole && kept.size_bytes == 0), "{}: {kept:?}", world.name);
        assert_eq!(put(&world, "file", &content(2 * MIB, 5)).await, stored);
    }
}

/// Whoever hears that it is there has it, whatever others remove at the same time; whoever hears that it is not
/// may put it again.
#[tokio::test(flavor = "multi_thread")]
async fn touch_and_removal_exclude_each_other() {
    for world in World::all().await {
        let artifacts = &world.artifacts;
        let mut all = Vec::new();
        for seed in 0..24_u8 {
            let file = world.file(&format!("file-{seed}"), &content(1000, seed));
            all.push((artifacts.put(&file).await.unwrap(), file));
        }
        let since = SystemTime::now() + Duration::from_secs(1);
        wait_until("all of that is old", || SystemTime::now() > since + Duration::from_millis(1100));
        let races = all.iter().enumerate().map(async |(at, (stored, file))| {
            let remove = || artifacts.remove_unless_touched(&stored.digest, since);
            let need = async {
                // One that comes a little later meets the removal elsewhere.
                for _ in 0..at {
                    tokio::task::yield_now().await;
                }
                artifacts.touch(stored).await.unwrap()
            };
            let (one, touched, other) = tokio::join!(remove(), need, remove());
            let removed = one.unwrap() || other.unwrap();
            assert_eq!(touched, !removed, "{}", world.name);
            assert_eq!(artifacts.read(stored, None).await.is_ok(), touched, "{}", world.name);
            assert_eq!(&artifacts.put(file).await.unwrap(), stored);
            assert!(artifacts.read(stored, None).await.is_ok());
            removed
        });
        let removed = join_all(races).await.into_iter().filter(|removed| *removed).count();
        println!("{}: {removed} of 24 removed", world.name);
    }
}

/// Nobody who puts loses what he put to somebody who removes what is old.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_put_is_not_removed() {
    for world in World::all().await {
        let file = world.file("file", &content(2 * MIB, 4));
        let stored = world.artifacts.put(&file).await.unwrap();
        for _ in 0..10 {
            let future = SystemTime::now() + HOUR;
            let past = SystemTime::now() - HOUR;
            world.artifacts.remove_unless_touched(&stored.digest, future).await.unwrap();
            let remove = || world.artifacts.remove_unless_touched(&stored.digest, past);
            let (one, put, other) = tokio::join!(remove(), world.artifacts.put(&file), remove());
            assert!(!one.unwrap() && !other.unwrap() && put.is_ok(), "{}", world.name);
            let (_, error) = collect(world.artifacts.read(&stored, None).await.unwrap()).await;
            assert!(error.is_none(), "{}: {error:?}", world.name);
        }
    }
}
