//! Which writes wait for the disk, and that those which do not are never missed: by who
//! comes after `kill -9`, by who comes after a power cut, by a server's crash.

use std::path::Path;
use std::time::Duration;

use shipway_model::{InstanceRole, TaskPayload, TaskState};
use shipway_store::{LeaseTerms, Migrate, Store};
use shipway_testkit::{Postgres, Stop};

use crate::sqlite::child::{Other, say};
use crate::sqlite::world::*;

/// What a process does while its system calls are looked at: each step by its name, and
/// whether it must be on the disk when it is answered.
const STEPS: [(&str, bool); 12] = [
    ("request", true),
    ("claim", false),
    ("heartbeat", false),
    ("give back uncharged", false),
    ("claim again", false),
    ("release", true),
    ("candidate", false),
    ("publish", true),
    ("repair asked for", false),
    ("claim repair", false),
    ("forget candidate", false),
    ("finish", true),
];

/// The child: one step after the other.
pub(crate) async fn step_by_step(place: &str) {
    let store = open(place).await;
    say(STEPS[0].0);
    let id = store.request(first_deploy("hello")).await.unwrap().service.id;
    say(STEPS[1].0);
    let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
    say(STEPS[2].0);
    store.heartbeat(&lease, LONG).await.unwrap();
    say(STEPS[3].0);
    store.give_back(&lease, Duration::ZERO, false).await.unwrap();
    say(STEPS[4].0);
    let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
    say(STEPS[5].0);
    let release = store.add_release(&lease, &spec()).await.unwrap();
    say(STEPS[6].0);
    let instance = instance_of(&release, InstanceRole::Candidate);
    store.put_instance(&lease, &instance).await.unwrap();
    say(STEPS[7].0);
    store.publish(&lease, release.number, instance.container, &done(Some(1))).await.unwrap();
    say(STEPS[8].0);
    store.request_repair(id, Duration::ZERO).await.unwrap();
    say(STEPS[9].0);
    let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
    say(STEPS[10].0);
    store.remove_instance(&lease, instance.container).await.unwrap();
    say(STEPS[11].0);
    store.finish(&lease, &done(None)).await.unwrap();
    say("end");
}

/// How often the log was synced in each step, by what `strace` wrote.
fn syncs(trace: &str) -> Vec<(&str, usize)> {
    let mut steps: Vec<(&str, usize)> = Vec::new();
    for line in trace.lines() {
        if let Some((_, said)) = line.split_once("\"! ") {
            steps.push((said.split_once("\\n").map_or(said, |(step, _)| step), 0));
        } else if line.contains("sync(")
            && line.contains("-wal>")
            && let Some((_, count)) = steps.last_mut()
        {
            *count += 1;
        }
    }
    steps
}

/// The log is one file that only grows, so that a sync of it is one of all before.
#[tokio::test]
async fn sqlite_waits_for_the_disk_where_somebody_was_answered_and_nowhere_else() {
    let world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let strace = ["strace", "-f", "-y", "-qq", "-e", "trace=write,fsync,fdatasync", "-o", trace.to_str().unwrap()];
    let mut other = Other::start_under(&strace, "step by step", &world.place());
    while other.hear().is_some() {}
    let trace = std::fs::read_to_string(&trace).unwrap();
    let seen = syncs(&trace);
    assert_eq!(seen.len(), STEPS.len() + 1, "{trace}");
    for ((step, must), (said, syncs)) in STEPS.into_iter().zip(seen) {
        assert_eq!(step, said, "{trace}");
        assert_eq!(must, syncs > 0, "{step} synced {syncs} times: {trace}");
        assert!(syncs <= if step == "request" { 2 } else { 1 }, "the first also syncs the log's head: {step}, {syncs}");
    }
}

/// The files as they are when only what was synced is left: the database and its log at
/// the moment of the last sync.
fn after_power_cut(of: &Path, folder: &Path) -> std::path::PathBuf {
    let copy = folder.join("shipway.sqlite");
    for end in ["", "-wal"] {
        std::fs::copy(format!("{}{end}", of.display()), format!("{}{end}", copy.display())).unwrap();
    }
    copy
}

/// Everything with a number that somebody outside may have kept.
async fn numbered(store: &Store) -> String {
    let mut all = String::new();
    for service in store.list_all_services(None, 1000).await.unwrap() {
        let releases: Vec<u32> =
            store.list_releases(service.id, None, 1000).await.unwrap().iter().map(|release| release.number).collect();
        let events = store.list_events(&format!("service/{}", service.id), 0, 1000).await.unwrap();
        all += &format!("{} version {} releases {releases:?} events {events:?}\n", service.name, service.version);
    }
    all
}

#[tokio::test]
async fn a_power_cut_takes_a_claim_and_no_number_that_somebody_could_know() {
    let world = world().await;
    let task = world.ask_first("hello").await.task;
    let lease = world.take().await;
    let release = world.add_release(&lease, &spec()).await.unwrap();
    let (folder, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = after_power_cut(&world.path(), folder.path());
    // Nothing of this waits for the disk.
    world.put_instance(&lease, &instance_of(&release, InstanceRole::Candidate)).await.unwrap();
    world.heartbeat(&lease, LONG).await.unwrap();
    world.request_repair(release.service, Duration::ZERO).await.unwrap();
    world.give_back(&lease, Duration::ZERO, false).await.unwrap();
    world.take().await;

    let after = Store::open(&copy).await.unwrap();
    assert_eq!(numbered(&after).await, numbered(&world).await, "nobody could read what was lost");
    assert_eq!(after.list_instances(None).await.unwrap(), []);
    assert_eq!(after.rescue(true).await.unwrap(), 1, "the claim came before a write that was synced");
    let again = after.claim(&who("worker"), LONG).await.unwrap().unwrap();
    assert_eq!(again.task.id, task);
    assert!(again.token > lease.token);
    after.close().await;

    // And one that was cut before that: the task is queued as if nobody had claimed it.
    let young = self::world().await;
    let task = young.ask_first("hello").await.task;
    let copy = after_power_cut(&young.path(), earlier.path());
    young.take().await;
    let after = Store::open(&copy).await.unwrap();
    assert_eq!(numbered(&after).await, numbered(&young).await);
    assert_eq!(after.rescue(true).await.unwrap(), 0);
    assert_eq!(after.claim(&who("worker"), LONG).await.unwrap().unwrap().task.id, task);
    after.close().await;
}

/// A server that writes its log to the disk only when a commit asks for it (within ten
/// seconds), with a database.
fn lazy_server() -> (Postgres, String) {
    let server = Postgres::start().unwrap();
    server.query("postgres", "ALTER SYSTEM SET wal_writer_delay = '10s'").unwrap();
    server.stop(Stop::Fast).unwrap();
    server.resume().unwrap();
    let database = server.create(None).unwrap();
    let url = server.url(&database);
    (server, url)
}

fn crash(server: &Postgres) {
    server.stop(Stop::Immediate).unwrap();
    server.resume().unwrap();
}

async fn back(url: &str) -> Store {
    wait_until("the server is back", async || Store::connect(url, Migrate::No).await.is_ok()).await;
    Store::connect(url, Migrate::No).await.unwrap()
}

/// Why a claim waits for the disk on PostgreSQL: a sequence writes its next 32 values to the
/// log ahead, but to the disk only with a commit that asks for it. One that does not, and is
/// lost, takes the values back, and the next to ask gets them again.
#[tokio::test]
async fn a_value_of_a_sequence_is_given_twice_when_the_commit_that_took_it_is_lost() {
    let (server, url) = lazy_server();
    Store::connect(&url, Migrate::Yes).await.unwrap().close().await;
    let database = url.rsplit('/').next().unwrap();
    let take = "BEGIN; SET LOCAL synchronous_commit = off; SELECT nextval('lease_token'); COMMIT";
    // Another process of the server may sync the log in between, for reasons of its own.
    let twice = (0..10).any(|_| {
        let first: i64 = server.query(database, take).unwrap().parse().unwrap();
        crash(&server);
        let second: i64 = server.query(database, take).unwrap().parse().unwrap();
        second <= first
    });
    assert!(twice, "then a claim on PostgreSQL need not wait for the disk either");
}

#[tokio::test]
async fn a_token_is_never_given_twice_however_the_server_crashes() {
    let (server, url) = lazy_server();
    let store = Store::connect(&url, Migrate::Yes).await.unwrap();
    for round in 0..4 {
        store.request(first_deploy(&format!("service-{round}"))).await.unwrap();
    }
    store.close().await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let store = back(&url).await;
        let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
        crash(&server);
        tokens.push(lease.token);
        // The one who claimed lives on, and holds it still.
        let store = back(&url).await;
        store.heartbeat(&lease, LONG).await.unwrap();
        store.close().await;
    }
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[tokio::test]
async fn a_heartbeat_that_a_crash_takes_costs_nobody_the_task_and_a_safe_write_keeps_it() {
    let (server, url) = lazy_server();
    let store = Store::connect(&url, Migrate::Yes).await.unwrap();
    let task = store.request(first_deploy("hello")).await.unwrap().task;
    let short = LeaseTerms { heartbeat: Duration::from_secs(600), ..LONG };
    let longer = LeaseTerms { heartbeat: Duration::from_secs(1800), ..LONG };
    let lease = store.claim(&who("worker"), short).await.unwrap().unwrap();
    store.heartbeat(&lease, longer).await.unwrap();
    crash(&server);
    let store = back(&url).await;
    assert_eq!(store.rescue(false).await.unwrap(), 0);
    store.heartbeat(&lease, longer).await.unwrap();
    store.request(first_deploy("another")).await.unwrap();
    crash(&server);
    let database = url.rsplit('/').next().unwrap();
    let until: i64 =
        server.query(database, &format!("SELECT lease_until FROM task WHERE id = '{task}'")).unwrap().parse().unwrap();
    assert!(until > lease.until + 600_000_000, "the heartbeat came before a commit that was synced");
    let store = back(&url).await;
    store.finish(&lease, &done(None)).await.unwrap();
    let state = store.find_task(task).await.unwrap().unwrap().state;
    assert_eq!(state, TaskState::Ended(done(None)));
    store.request(change(lease.task.subject.service().unwrap(), TaskPayload::Stop)).await.unwrap();
}
