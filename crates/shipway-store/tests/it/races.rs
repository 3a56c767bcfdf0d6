//! Many at once: nothing is done twice, nothing is lost, nobody is refused for
//! the crowd.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use shipway_model::{ServiceId, TaskId, TaskState};
use shipway_store::{LeaseTerms, Store};

use super::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_equal_requests_at_once_are_both_answered_and_make_one_service() {
    let world = world().await;
    for round in 0..20 {
        let of = format!("service-{round}");
        let both = [0, 1].map(|_| {
            let (store, request) = (world.store.clone(), first_deploy(&of));
            tokio::spawn(async move { store.request(request).await.unwrap() })
        });
        let both: Vec<_> = join_all(both).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(both[0].service.id, both[1].service.id);
        assert_ne!(both[0].task, both[1].task);
        assert_eq!(both.iter().filter(|accepted| accepted.created).count(), 1);
        assert_eq!(world.story(both[0].service.id).await, ["deploy asked", "deploy asked"]);
    }
}

/// Waits for all, and fails with the first that does.
async fn all_well(workers: impl Iterator<Item = tokio::task::JoinHandle<()>>) {
    let workers = futures_util::future::try_join_all(workers);
    tokio::time::timeout(LIMIT, workers).await.expect("they come to an end").unwrap();
}

/// What eight workers did, as they saw it.
#[derive(Default)]
struct Log {
    busy: HashSet<ServiceId>,
    order: HashMap<ServiceId, Vec<TaskId>>,
    tokens: HashSet<i64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_never_share_a_service_and_keep_its_order() {
    let world = world().await;
    let mut asked: HashMap<ServiceId, Vec<TaskId>> = HashMap::new();
    for round in 0..60 {
        let accepted = world.ask_first(&format!("service-{}", round % 5)).await;
        asked.entry(accepted.service.id).or_default().push(accepted.task);
    }
    let log = Arc::new(Mutex::new(Log::default()));
    let workers = (0..8).map(|_| {
        let (store, log) = (world.store.clone(), Arc::clone(&log));
        tokio::spawn(async move {
            while store.task_counts().await.unwrap().queued > 0 {
                let Some(lease) = store.claim(&who("worker"), LONG).await.unwrap() else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let (subject, task) = (lease.task.subject.service().unwrap(), lease.task.id);
                {
                    let mut log = log.lock().unwrap();
                    assert!(log.busy.insert(subject), "two at work on one service");
                    assert!(log.tokens.insert(lease.token), "one token twice");
                    log.order.entry(subject).or_default().push(task);
                }
                tokio::task::yield_now().await;
                log.lock().unwrap().busy.remove(&subject);
                store.finish(&lease, &done(None)).await.unwrap();
            }
        })
    });
    all_well(workers).await;
    assert_eq!(log.lock().unwrap().order, asked);
}

/// Every other worker sleeps through its lease, has it taken away, and still
/// tries to end the task. Each task ends exactly once, by who holds it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_believe_to_hold_a_task_one_ends_it() {
    let world = world().await;
    let mut tasks = Vec::new();
    for round in 0..40 {
        tasks.push(world.ask_first(&format!("service-{round}")).await.task);
    }
    world.spoil("UPDATE task SET attempts_max = 1000000").await;
    // One is late for certain, whatever the others meet.
    let late = world.take_and_lose().await;
    let ended: Arc<Mutex<HashMap<TaskId, u32>>> = Arc::default();
    let workers = (0..6).map(|worker| {
        let (store, ended) = (world.store.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            while end_one(&store, worker % 2 == 1, &ended).await {
                tokio::task::yield_now().await;
            }
        })
    });
    all_well(workers).await;
    assert_stale(world.finish(&late, &done(None)).await);
    assert_eq!(*ended.lock().unwrap(), tasks.iter().map(|task| (*task, 1)).collect());
    for task in tasks {
        let task = world.find_task(task).await.unwrap().unwrap();
        assert_eq!(task.state, TaskState::Ended(done(None)));
    }
}

/// Claims a task, perhaps oversleeps, and ends it. Returns whether more are open.
async fn end_one(store: &Store, sleepy: bool, ended: &Mutex<HashMap<TaskId, u32>>) -> bool {
    store.rescue(false).await.unwrap();
    let terms = LeaseTerms { heartbeat: Duration::from_millis(1), ..LONG };
    let Some(lease) = store.claim(&who("worker"), if sleepy { terms } else { LONG }).await.unwrap() else {
        let counts = store.task_counts().await.unwrap();
        return counts.queued + counts.running > 0;
    };
    if sleepy {
        while store.now().await.unwrap() < lease.until {
            tokio::task::yield_now().await;
        }
        store.rescue(false).await.unwrap();
        assert_stale(store.finish(&lease, &done(None)).await);
    } else {
        store.finish(&lease, &done(None)).await.unwrap();
        *ended.lock().unwrap().entry(lease.task.id).or_default() += 1;
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cursor_that_follows_many_writers_misses_no_event() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    let writers = (0..8).map(|writer| {
        let (store, lease) = (world.store.clone(), lease.clone());
        tokio::spawn(async move {
            for round in 0..25 {
                let kind = shipway_model::EventKind::ContainerRestarted { release: writer * 100 + round };
                store.append_event(&lease, &kind).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut notices = world.notices();
    let subject = format!("service/{id}");
    let follow = async {
        let mut read = 0;
        while read < 201 {
            notices.borrow_and_update();
            for event in world.list_events(&subject, read, 7).await.unwrap() {
                assert_eq!(event.seq, read + 1);
                read = event.seq;
            }
            if world.list_events(&subject, read, 1).await.unwrap().is_empty() && read < 201 {
                drop(tokio::time::timeout(Duration::from_secs(1), notices.changed()).await);
            }
        }
    };
    // Two hundred commits, each synced: a busy disk needs its time.
    tokio::time::timeout(LIMIT * 6, follow).await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
}
