//! R8: what S3 and the network between do wrong, and that it comes to the same end.

use std::time::Duration;

use shipway_artifacts::{ArtifactError, Artifacts, ArtifactsConfig, S3Config, S3Limits, Secret, Stored};
use shipway_testkit::s3::{Fault, Proxy, Seen};

use crate::fixtures::{MIB, World, collect, content, fresh_name};
use crate::servers::{SECRET_KEY, Server, config};

/// A place behind a proxy.
async fn behind(server: &Server) -> (World, Proxy) {
    let proxy = Proxy::before(server.address).await;
    let config = server.bucket(&fresh_name(), proxy.address);
    (World::new(server.name, config).await, proxy)
}

/// The same, with a client that waits for so long only.
async fn impatient(server: &Server, limit: Duration) -> (World, Proxy) {
    let (mut world, proxy) = behind(server).await;
    let ArtifactsConfig::S3(config) = &mut world.config else { unreachable!() };
    config.limits = S3Limits { answer: limit, stall: limit, ..config.limits };
    world.artifacts = Artifacts::open(&world.config).await.unwrap();
    (world, proxy)
}

#[track_caller]
fn played(proxy: &Proxy) {
    assert_eq!(proxy.calm(), 0, "a fault was not met");
}

async fn whole(world: &World, stored: &Stored, wanted: &[u8]) {
    let (read, error) = collect(world.artifacts.read(stored, None).await.unwrap()).await;
    assert!(error.is_none() && read == wanted, "{}: {error:?}", world.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn being_told_to_slow_down_is_waited_out() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(20 * MIB, 1);
        let file = world.file("file", &content);
        proxy.order(2, Fault::SlowDown, Seen::is_part);
        proxy.order(2, Fault::SlowDown, Seen::is_beginning);
        proxy.order(1, Fault::SlowDown, Seen::is_completion);
        proxy.order(2, Fault::LateError, Seen::is_completion);
        proxy.order(3, Fault::Say(500, "InternalError"), |seen| seen.is("PUT", ".touched"));
        let stored = world.artifacts.put(&file).await.unwrap();
        played(&proxy);
        proxy.order(3, Fault::SlowDown, Seen::is_read);
        whole(&world, &stored, &content).await;
        played(&proxy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_handed_up_as_transient() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(100, 1);
        let file = world.file("file", &content);
        proxy.order(u32::MAX, Fault::SlowDown, |_| true);
        let error = world.artifacts.put(&file).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("SlowDown"), "{error}");
        assert_eq!(proxy.count(|_| true), 4, "as often as the limits say");
        assert!(world.artifacts.check().await.unwrap_err().is_transient());
        proxy.calm();
        proxy.order(u32::MAX, Fault::Refuse, |_| true);
        assert!(world.artifacts.put(&file).await.unwrap_err().is_transient());
        proxy.calm();
        let stored = world.artifacts.put(&file).await.unwrap();
        whole(&world, &stored, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_after_the_commit_comes_to_the_same_end() {
    for server in Server::both() {
        for size in [100, 20 * MIB] {
            // Once; and each time, so that it is never heard that it was done.
            for times in [1, u32::MAX] {
                let (world, proxy) = behind(server).await;
                let content = content(size, 2);
                let file = world.file("file", &content);
                let commits = |seen: &Seen| seen.is_completion() || (seen.method == "PUT" && is_artifact(seen));
                proxy.order(times, Fault::LoseAnswer, move |seen| commits(seen) && !seen.is_part());
                let first = world.artifacts.put(&file).await;
                let lost = u64::from(times);
                assert!(proxy.calm() < lost, "the commit was never lost");
                if size > MIB || times == 1 {
                    first.unwrap();
                } else {
                    assert!(first.unwrap_err().is_transient());
                }
                proxy.forget();
                let stored = world.artifacts.put(&file).await.unwrap();
                let sent = proxy.count(|seen| seen.is_part() || (seen.method == "PUT" && is_artifact(seen)));
                assert_eq!(sent, 0, "it is there already");
                whole(&world, &stored, &content).await;
            }
        }
    }
}

fn is_artifact(seen: &Seen) -> bool {
    seen.path.rsplit('/').next().is_some_and(|name| name.len() == 64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_beginning_or_part_is_sent_again() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(30 * MIB, 3);
        proxy.order(1, Fault::LoseAnswer, Seen::is_beginning);
        proxy.order(2, Fault::LoseAnswer, Seen::is_part);
        let stored = world.artifacts.put(&world.file("file", &content)).await.unwrap();
        played(&proxy);
        whole(&world, &stored, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_goes_on_from_what_is_up() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(60 * MIB, 4);
        let file = world.file("file", &content);
        // Of eight parts the fifth never arrives.
        proxy.order(u32::MAX, Fault::Refuse, |seen| seen.query.contains("partNumber=5"));
        let error = world.artifacts.put(&file).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        let arrived = proxy.count(|seen| seen.is_part() && !seen.query.contains("partNumber=5"));
        assert!(arrived >= 1, "{arrived}");
        proxy.calm();
        proxy.forget();
        // Another process would not have this object.
        let again = Artifacts::open(&world.config).await.unwrap();
        let stored = again.put(&file).await.unwrap();
        let (sent, begun) = (proxy.count(Seen::is_part), proxy.count(Seen::is_beginning));
        assert_eq!(begun, 0, "{} began anew", world.name);
        assert!(sent < 8 && sent >= 8 - arrived, "{}: {arrived} had arrived, {sent} were sent", world.name);
        whole(&world, &stored, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_vanished_begins_anew() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(20 * MIB, 5);
        let file = world.file("file", &content);
        proxy.order(1, Fault::Say(404, "NoSuchUpload"), |seen| seen.query.contains("partNumber=2"));
        let stored = world.artifacts.put(&file).await.unwrap();
        played(&proxy);
        assert_eq!(proxy.count(Seen::is_beginning), 2);
        whole(&world, &stored, &content).await;

        let other = world.file("other", &content[1..]);
        proxy.order(1, Fault::Say(404, "NoSuchUpload"), Seen::is_completion);
        let stored = world.artifacts.put(&other).await.unwrap();
        played(&proxy);
        whole(&world, &stored, &content[1..]).await;
        // One that vanishes each time is not tried for ever.
        let third = world.file("third", &content[2..]);
        proxy.forget();
        proxy.order(u32::MAX, Fault::Say(404, "NoSuchUpload"), Seen::is_part);
        let error = world.artifacts.put(&third).await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert_eq!(proxy.count(Seen::is_beginning), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_tag_does_not_make_a_wrong_artifact() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(20 * MIB, 6);
        proxy.order(1, Fault::WrongTag, Seen::is_part);
        let stored = world.artifacts.put(&world.file("file", &content)).await.unwrap();
        played(&proxy);
        whole(&world, &stored, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_are_cut_off_go_on_where_they_ended() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(6 * MIB + 5, 7);
        let stored = world.artifacts.put(&world.file("file", &content)).await.unwrap();
        for at in [0, 1, 100_000, 1_048_576, 1_048_577, 3_000_000] {
            proxy.order(1, Fault::Cut(at), Seen::is_read);
        }
        proxy.order(1, Fault::Cut(20), |seen| seen.is("GET", ".chunks"));
        whole(&world, &stored, &content).await;
        played(&proxy);
        let asked = proxy.count(Seen::is_read);
        assert!(asked >= 7, "{asked}");
        let reading = world.artifacts.read(&stored, Some(MIB + 3..5 * MIB)).await.unwrap();
        proxy.order(1, Fault::Cut(3 << 20), Seen::is_read);
        let (read, error) = collect(reading).await;
        proxy.calm();
        assert!(error.is_none() && read == content[MIB as usize + 3..5 * MIB as usize], "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_never_come_out() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(5 * MIB + 9, 8);
        let stored = world.artifacts.put(&world.file("file", &content)).await.unwrap();
        // Once: it is asked for again.
        proxy.order(1, Fault::Flip(100), |seen| seen.is("GET", ".chunks"));
        proxy.order(1, Fault::Flip(2_500_000), Seen::is_read);
        whole(&world, &stored, &content).await;
        played(&proxy);
        // Always: what came was right, and the end is an error.
        proxy.order(u32::MAX, Fault::Flip(400_000), Seen::is_read);
        for range in [None, Some(MIB * 3 + 5..MIB * 4)] {
            let from = range.as_ref().map_or(0, |range| range.start) as usize;
            let (read, error) = match world.artifacts.read(&stored, range).await {
                Ok(reading) => collect(reading).await,
                Err(error) => (Vec::new(), Some(error)),
            };
            assert!(matches!(error, Some(ArtifactError::Damaged { .. })), "{error:?}");
            assert!(content[from..].starts_with(&read));
        }
        proxy.calm();
        // The list of chunks, too.
        proxy.order(u32::MAX, Fault::Flip(100), |seen| seen.is("GET", ".chunks"));
        let error = world.artifacts.read(&stored, None).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Damaged { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_too_late_are_not_waited_for() {
    let server = Server::s3s();
    let (world, proxy) = impatient(server, Duration::from_secs(3)).await;
    let content = content(20 * MIB, 9);
    proxy.order(1, Fault::Silence, Seen::is_completion);
    proxy.order(1, Fault::Silence, |seen| seen.is("PUT", ".touched"));
    let stored = world.artifacts.put(&world.file("file", &content)).await.unwrap();
    played(&proxy);
    proxy.order(1, Fault::Silence, Seen::is_read);
    proxy.order(1, Fault::Stall(1_500_000), Seen::is_read);
    whole(&world, &stored, &content).await;
    played(&proxy);
    let (world, proxy) = impatient(server, Duration::from_millis(100)).await;
    proxy.order(u32::MAX, Fault::Silence, |_| true);
    let error = world.artifacts.check().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("100 ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_are_named_and_no_secret_is() {
    let server = Server::s3s();
    let bucket = fresh_name();
    drop(server.bucket(&bucket, server.address));
    let good = config(&bucket, server.address);
    let local = World::directory().await;
    let file = local.file("file", b"content");
    let other_key = S3Config { access_key: "AKOTHER".to_owned(), ..good.clone() };
    let other_secret = S3Config { secret_key: Secret::new("another-secret".to_owned()), ..good.clone() };
    for (setting, config) in [
        // Moto lets everybody in; s3s makes the bucket of a put.
        ("storage.s3.bucket", config("no-such-bucket", Server::moto().address)),
        ("storage.s3.access_key", other_key),
        ("storage.s3.secret_key", other_secret),
    ] {
        let artifacts = Artifacts::open(&ArtifactsConfig::S3(config)).await.unwrap();
        for error in [artifacts.check().await.unwrap_err(), artifacts.put(&file).await.unwrap_err()] {
            let ArtifactError::Refused { setting: named, .. } = &error else { panic!("{error}") };
            assert!(named.contains(setting), "{error}");
            let said = format!("{error} {error:?}");
            assert!(!said.contains(SECRET_KEY) && !said.contains("another-secret"), "{said}");
        }
    }
    let shown = format!("{:?}", Artifacts::open(&ArtifactsConfig::S3(good)).await.unwrap());
    assert!(!shown.contains(SECRET_KEY), "{shown}");
    let nobody = config("farm", "127.0.0.1:1".parse().unwrap());
    let artifacts = Artifacts::open(&ArtifactsConfig::S3(nobody)).await.unwrap();
    assert!(artifacts.check().await.unwrap_err().is_transient(), "a server that is away may come back");
}

/// What is kept is cut short behind our back, by whoever can.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_too_short_is_not_the_artifact() {
    let server = Server::s3s();
    let bucket = fresh_name();
    let world = World::new(server.name, server.bucket(&bucket, server.address)).await;
    let content = content(3 * MIB, 1);
    let file = world.file("file", &content);
    let stored = world.artifacts.put(&file).await.unwrap();
    let hex = stored.digest.hex();
    let kept = server.folder().join(bucket).join("artifacts/sha256").join(&hex[..2]).join(&hex);
    std::fs::File::options().write(true).open(kept).unwrap().set_len(2 * MIB + 1).unwrap();
    for range in [None, Some(2 * MIB..3 * MIB), Some(3 * MIB - 1..3 * MIB)] {
        let ended = match world.artifacts.read(&stored, range).await {
            Ok(reading) => collect(reading).await.1,
            Err(error) => Some(error),
        };
        assert!(matches!(ended, Some(ArtifactError::Missing { .. })), "{ended:?}");
    }
    assert!(!world.artifacts.touch(&stored).await.unwrap());
    world.artifacts.put(&file).await.unwrap();
    whole(&world, &stored, &content).await;
}

/// A server that says yes to everything and keeps nothing is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_after_a_put_was_not_kept() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(3 * MIB, 2);
        let file = world.file("file", &content);
        proxy.order(1, Fault::Swallow, Seen::is_put);
        let error = world.artifacts.put(&file).await.unwrap_err();
        played(&proxy);
        assert!(error.is_transient(), "{error}");
        let stored = world.artifacts.put(&file).await.unwrap();
        whole(&world, &stored, &content).await;
    }
}
