//! `kill -9` in the middle of everything: what was answered is there, and
//! nothing is there by half.

use std::time::Duration;

use shipway_model::{InstanceRole, Outcome, ReleaseState, ServiceId, ServiceState, TaskId, TaskState};
use shipway_store::Store;

use super::child::{Other, say};
use super::world::*;

/// Kills in one run of the suite. The torture bench does thousands.
const KILLS: usize = 12;

/// The child: four askers and two workers as fast as they can, telling the
/// parent each answer as soon as they have it.
pub(crate) async fn work_for_ever(place: &str) {
    let store = open(place).await;
    store.rescue(true).await.unwrap();
    let askers = (0..4).map(|n| tokio::spawn(ask_for_ever(store.clone(), n)));
    let workers = (0..2).map(|_| tokio::spawn(deploy_for_ever(store.clone())));
    for task in askers.collect::<Vec<_>>().into_iter().chain(workers.collect::<Vec<_>>()) {
        task.await.unwrap();
    }
}

async fn ask_for_ever(store: Store, asker: usize) {
    for round in 0.. {
        let of = format!("service-{asker}-{}", round % 3);
        match store.request(first_deploy(&of)).await {
            Ok(accepted) => say(&format!("accepted {} {}", accepted.service.id, accepted.task)),
            // The queue of this service is full: the workers will see to it.
            Err(error) => drop(unavailable::<()>(Err(error))),
        }
        tokio::task::yield_now().await;
    }
}

async fn deploy_for_ever(store: Store) {
    loop {
        let Some(lease) = store.claim(&who("worker"), LONG).await.unwrap() else {
            tokio::task::yield_now().await;
            continue;
        };
        say(&format!("claimed {} {}", lease.task.id, lease.token));
        let release = store.add_release(&lease, &spec()).await.unwrap();
        let instance = instance_of(&release, InstanceRole::Candidate);
        store.put_instance(&lease, &instance).await.unwrap();
        say(&format!("put {} {}", lease.task.id, instance.container));
        let outcome = done(Some(release.number));
        store.publish(&lease, release.number, instance.container, &outcome).await.unwrap();
        say(&format!("published {} {}", lease.task.id, release.number));
    }
}

#[tokio::test]
async fn what_was_answered_survives_kill_9_and_nothing_is_half() {
    let world = world().await;
    let mut said = Vec::new();
    for kill in 0..KILLS {
        let mut other = Other::start("work", &world.place());
        // A different moment each time, counted in answers, not in time.
        for _ in 0..5 + kill * 7 {
            said.push(other.hear().expect("it works until it is killed"));
        }
        said.extend(other.kill());
        check(&world, &said).await;
    }
    assert!(said.iter().any(|line| line.starts_with("published")), "{said:?}");
}

async fn check(world: &World, said: &[String]) {
    let store = world.again().await;
    if !is_postgres() {
        assert_eq!(world.texts("PRAGMA integrity_check").await, ["ok"]);
    }
    for line in said {
        check_answer(world, &store, line).await;
    }
    for service in store.list_all_services(None, 1000).await.unwrap() {
        check_service(world, &store, service.id).await;
    }
    store.close().await;
}

async fn check_answer(world: &World, store: &Store, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // The last line may be cut.
        ["accepted", service, task] if task.len() == 36 => {
            let service: ServiceId = service.parse().unwrap();
            let task: TaskId = task.parse().unwrap();
            assert!(store.find_service_by_id(service).await.unwrap().is_some(), "{line}");
            assert_eq!(store.find_task(task).await.unwrap().expect(line).subject.service(), Some(service));
        }
        ["published", task, release] => {
            let task = store.find_task(task.parse().unwrap()).await.unwrap().expect(line);
            let release: u32 = release.parse().unwrap();
            assert_eq!(task.state, TaskState::Ended(done(Some(release))), "{line}");
        }
        // What does not wait for the disk is there all the same.
        ["claimed", task, token] if token.len() > 1 => {
            let sql = format!("SELECT lease_token FROM task WHERE id = '{task}'");
            assert!(world.number(sql).await >= token.parse().unwrap(), "{line}");
            let told = format!("SELECT kind FROM event WHERE subject = 'task/{task}'");
            let token = format!("\"token\":{token},");
            assert!(
                world.texts(told).await.iter().any(|kind| kind.contains("claimed") && kind.contains(&token)),
                "{line}"
            );
        }
        ["put", _, container] if container.len() == 36 => {
            let sql = format!("SELECT count(*) FROM instance WHERE container = '{container}'");
            assert_eq!(world.number(sql).await, 1, "{line}");
        }
        _ => {}
    }
}

/// The parts of a service agree with each other.
async fn check_service(world: &World, store: &Store, id: ServiceId) {
    let service = store.find_service_by_id(id).await.unwrap().unwrap();
    let releases = store.list_releases(id, None, 1000).await.unwrap();
    let instances = store.list_instances(Some(id)).await.unwrap();
    let events = store.list_events(&format!("service/{id}"), 0, 1000).await.unwrap();

    let live: Vec<u32> = releases.iter().filter(|r| r.state == ReleaseState::Live).map(|r| r.number).collect();
    let leading: Vec<u32> = instances.iter().filter(|i| i.role == InstanceRole::Live).map(|i| i.release).collect();
    match service.state {
        ServiceState::Starting => assert_eq!((live, leading), (vec![], vec![])),
        ServiceState::Live { release } => assert_eq!((live, leading), (vec![release], vec![release])),
        other => panic!("{other:?}"),
    }
    let numbers: Vec<u32> = releases.iter().rev().map(|release| release.number).collect();
    assert_eq!(numbers, (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.seq, index as u64 + 1);
    }
    // A task and its event are one: as many requests told as tasks there are.
    let tasks = world.number(format!("SELECT count(*) FROM task WHERE subject = '{id}'")).await;
    if events.len() < 1000 {
        let asked = events.iter().filter(|event| event_word(event) == "change_requested").count();
        assert_eq!(i64::try_from(asked).unwrap(), tasks);
    }
}

fn event_word(event: &shipway_model::Event) -> String {
    serde_json::to_value(&event.kind).unwrap()["event"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_work_of_a_killed_worker_is_done_by_the_next() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    let lease = world.take().await;
    world.add_release(&lease, &spec()).await.unwrap();
    // A new process opens the file; the old one is only gone as far as it knows.
    let next = world.again().await;
    assert_eq!(next.rescue(true).await.unwrap(), 1);
    let (outcome, ()) = tokio::join!(next.wait_task(accepted.task, LIMIT), async {
        let lease = next.claim(&who("next"), LONG).await.unwrap().unwrap();
        next.finish(&lease, &Outcome::Done { release: None, changed: true }).await.unwrap();
    });
    assert_eq!(outcome.unwrap(), Some(done(None)));
    assert_stale(world.give_back(&lease, Duration::ZERO, true).await);
}
