//! Releases are forgotten only when nothing can ask for them any more.

use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{ContentKind, Digest, InstanceRole, Runner, ServiceId, Source, TaskPayload};

use super::world::*;

impl World {
    /// One more release of a live service, live at the end.
    async fn redeploy(&self, id: ServiceId) {
        self.ask(id, deploy_of("http://127.0.0.1/next.sh")).await;
        let lease = self.take().await;
        let before = self.list_instances(Some(id)).await.unwrap();
        self.make_live(&lease).await;
        // What was live drains; here it is gone at once.
        self.request_repair(id, std::time::Duration::ZERO).await.unwrap();
        let lease = self.take().await;
        for instance in before {
            self.remove_instance(&lease, instance.container).await.unwrap();
        }
        self.finish(&lease, &done(None)).await.unwrap();
    }

    async fn numbers(&self, id: ServiceId) -> Vec<u32> {
        self.list_releases(id, None, 100).await.unwrap().iter().map(|release| release.number).collect()
    }
}

#[tokio::test]
async fn the_live_one_the_newest_and_one_that_is_asked_for_stay() {
    let world = world().await;
    let id = world.live_service("hello").await;
    for _ in 0..5 {
        world.redeploy(id).await;
    }
    let all: Vec<u32> = (1..=6).collect();
    let rollback = world.ask(id, TaskPayload::Rollback { release: 2 }).await;
    assert_eq!(world.forget_releases(id, &all).await.unwrap(), 4, "1, 3, 4 and 5");
    assert_eq!(world.numbers(id).await, [6, 2]);
    let lease = world.take().await;
    assert_eq!(lease.task.id, rollback.task);
    assert_eq!(world.forget_releases(id, &all).await.unwrap(), 0, "also while it is worked on");
    let release = world.find_release(id, 2).await.unwrap().unwrap();
    let instance = instance_of(&release, InstanceRole::Candidate);
    world.put_instance(&lease, &instance).await.unwrap();
    world.publish(&lease, 2, instance.container, &done(Some(2))).await.unwrap();
    // Now 2 is live, and 6 is the newest, still with a container.
    assert_eq!(world.forget_releases(id, &all).await.unwrap(), 0);
    world.redeploy(id).await;
    assert_eq!(world.numbers(id).await, [7, 6, 2], "numbers go on");
    assert_eq!(world.forget_releases(id, &[2, 6]).await.unwrap(), 2);
}

#[tokio::test]
async fn one_with_a_container_or_in_the_making_stays() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.redeploy(id).await;
    world.redeploy(id).await;
    world
        .spoil(format!(
            "INSERT INTO instance (container, service, release, project, role, failures)
         VALUES ('{}', '{id}', 1, 'default', 'draining', 0)",
            new_container()
        ))
        .await;
    world.ask(id, deploy_of("http://127.0.0.1/next.sh")).await;
    let lease = world.take().await;
    let making = world.add_release(&lease, &spec()).await.unwrap();
    assert_eq!(world.forget_releases(id, &[1, 2, 3, making.number]).await.unwrap(), 1);
    assert_eq!(world.numbers(id).await, [4, 3, 1]);
}

#[tokio::test]
async fn a_stopped_service_can_be_started_afterwards() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.redeploy(id).await;
    world.spoil(format!("UPDATE service SET state = 'stopped', wanted = 'stopped' WHERE id = '{id}'")).await;
    world.spoil("DELETE FROM instance").await;
    assert_eq!(world.forget_releases(id, &[1, 2]).await.unwrap(), 1);
    assert_eq!(world.find_live_release(id).await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn services_with_too_many_are_found_page_by_page() {
    let world = world().await;
    let (many, _few) = (world.live_service("many").await, world.live_service("few").await);
    world.redeploy(many).await;
    assert_eq!(world.list_services_with_releases(1, None, 10).await.unwrap(), [many]);
    assert_eq!(world.list_services_with_releases(0, None, 10).await.unwrap().len(), 2);
    let first = world.list_services_with_releases(0, None, 1).await.unwrap();
    let second = world.list_services_with_releases(0, Some(first[0]), 10).await.unwrap();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(world.list_services_with_releases(2, None, 10).await.unwrap(), []);
}

fn upload(digest: &Digest) -> TaskPayload {
    let source = Source { digest: digest.clone(), size_bytes: 1, content_type: None, file_name: None, url: None };
    let TaskPayload::Deploy(deploy) = deploy_of("http://127.0.0.1/") else { unreachable!() };
    let (content, kind, runner) = (Content::Blob(source), ContentKind::Static, Runner::Native);
    TaskPayload::Deploy(Deploy { program: DeployProgram::Content { content, kind, runner }, ..deploy })
}

#[tokio::test]
async fn a_digest_is_needed_from_the_request_to_the_last_release() {
    let world = world().await;
    assert_eq!(world.needed_digests().await.unwrap(), None, "an empty database says nothing");
    let (content, root) = (Digest::from_sha256([7; 32]), Digest::from_sha256([9; 32]));
    let uploaded = Digest::from_sha256([42; 32]);
    let needed = async || world.needed_digests().await.unwrap().unwrap();

    let id = world.live_service("hello").await;
    assert_eq!(needed().await, [content.clone(), root.clone()].into());
    world.ask(id, upload(&uploaded)).await;
    assert!(needed().await.contains(&uploaded), "queued");
    let lease = world.take().await;
    assert!(needed().await.contains(&uploaded), "running");
    world.finish(&lease, &done(None)).await.unwrap();
    assert!(!needed().await.contains(&uploaded), "over");
    world.spoil("UPDATE task SET given_up_at = 1 WHERE kind = 'deploy'").await;
    assert!(needed().await.contains(&uploaded), "given up: it may be asked for anew");
    world.spoil("UPDATE release SET state = 'failed', reason = 'x'").await;
    assert_eq!(needed().await, [uploaded].into(), "a failed release never runs again");
    world.put_image(&super::images::image("debian:bookworm", 5), "local").await.unwrap();
    assert!(needed().await.contains(&Digest::from_sha256([5; 32])));
}
