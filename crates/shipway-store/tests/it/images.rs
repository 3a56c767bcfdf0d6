//! Names of images, and the releases that keep their digests.

use shipway_model::{Digest, Outcome, Protocol, ReleaseProgram, ReleaseSpec, RootFs, TaskPayload};
use shipway_store::{Image, StoreError};

use super::world::*;

pub(crate) fn image(name: &str, byte: u8) -> Image {
    Image {
        project: default_project(),
        name: name.to_owned(),
        digest: Digest::from_sha256([byte; 32]),
        size_bytes: 1 << 40,
        entries: 12,
        source: "an upload".to_owned(),
        created_at: 0,
    }
}

pub(crate) fn command(byte: u8) -> ReleaseSpec {
    let command = vec!["httpd".to_owned(), "-f".to_owned()];
    ReleaseSpec {
        program: ReleaseProgram::Command {
            image: "box:latest".to_owned(),
            command,
            port: 8000,
            protocol: Protocol::Http1,
        },
        root: RootFs::Image { digest: Digest::from_sha256([byte; 32]) },
        ..spec()
    }
}

#[tokio::test]
async fn a_name_means_what_it_was_given_last() {
    let world = world().await;
    let first = world.put_image(&image("box:latest", 1), "local").await.unwrap();
    assert!(first.created_at > 0);
    world.put_image(&image("box:1.0", 1), "local").await.unwrap();
    world.put_image(&image("box:latest", 2), "local").await.unwrap();
    let found = world.find_image(&default_project(), "box:latest").await.unwrap().unwrap();
    assert_eq!((found.digest, found.size_bytes), (Digest::from_sha256([2; 32]), 1 << 40));
    let names = async |after, limit| {
        let rows = world.list_images(&default_project(), after, limit).await.unwrap();
        rows.into_iter().map(|image| image.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(None, 100).await, "box:1.0 box:latest");
    assert_eq!(names(None, 1).await, "box:1.0");
    assert_eq!(names(Some("box:1.0"), 100).await, "box:latest");
    let other = "other".parse().unwrap();
    assert_eq!(world.list_images(&other, None, 100).await.unwrap(), []);
    let events = world.list_events("image/default/box:latest", 0, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| word(&event.kind)).collect::<Vec<_>>(), ["image imported"; 2]);
}

#[tokio::test]
async fn an_image_that_a_release_is_on_is_not_removed() {
    let world = world().await;
    world.put_image(&image("box:latest", 1), "local").await.unwrap();
    world.ask_first("web").await;
    let lease = world.take().await;
    world.add_release(&lease, &command(1)).await.unwrap();
    let refused = world.remove_image(&default_project(), "box:latest", "local").await;
    assert!(matches!(&refused, Err(StoreError::ImageInUse { service }) if service == "web"), "{refused:?}");
    assert_eq!(world.image_users(&Digest::from_sha256([1; 32])).await.unwrap(), ["web"]);
    // Another meaning of the name does not touch what the release is on.
    world.put_image(&image("box:latest", 2), "local").await.unwrap();
    world.remove_image(&default_project(), "box:latest", "local").await.unwrap();
    assert_eq!(world.image_digests().await.unwrap().into_iter().collect::<Vec<_>>(), [Digest::from_sha256([1; 32])]);
    world.finish(&lease, &Outcome::Failed(failure())).await.unwrap();
    assert!(world.image_digests().await.unwrap().is_empty(), "a failed release never runs again");
}

#[tokio::test]
async fn no_release_is_made_of_an_image_that_is_gone() {
    let world = world().await;
    world.put_image(&image("box:latest", 1), "local").await.unwrap();
    world.ask_first("web").await;
    let lease = world.take().await;
    world.remove_image(&default_project(), "box:latest", "local").await.unwrap();
    let refused = world.add_release(&lease, &command(1)).await;
    assert!(matches!(refused, Err(StoreError::NotFound("image"))), "{refused:?}");
    let missing = world.remove_image(&default_project(), "box:latest", "local").await;
    assert!(matches!(missing, Err(StoreError::NotFound("image"))), "{missing:?}");
}

/// The words in the database, which later versions read.
#[test]
fn a_command_and_content_are_told_apart_in_json() {
    for spec in [spec(), command(3)] {
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ReleaseSpec>(&json).unwrap(), spec, "{json}");
    }
    let json = serde_json::to_value(deploy_of("http://127.0.0.1/x")).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    let before_images = ["task", "content", "kind", "runner", "env", "limits", "health"];
    assert_eq!(keys[..before_images.len()], before_images);
    assert_eq!(serde_json::from_value::<TaskPayload>(json).unwrap(), deploy_of("http://127.0.0.1/x"));
}
