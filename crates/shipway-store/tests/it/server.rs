//! PostgreSQL away, restarted, read-only, crowded, behind a pooler: each is said in plain
//! words, and each is over when its cause is.

use std::time::Duration;

use shipway_store::{Migrate, OpenError, SCHEMA, Store};
use shipway_testkit::{Pooler, Postgres, Stop};
use sqlx::{Connection, PgConnection};

use crate::postgres::world::*;

/// A server of the test's own, with a database.
fn server() -> (Postgres, String) {
    let server = Postgres::start().unwrap();
    let database = server.create(None).unwrap();
    let url = server.url(&database);
    (server, url)
}

#[tokio::test]
async fn a_database_without_tables_gets_them_from_who_may() {
    let shared = Postgres::shared();
    let database = shared.create(None).unwrap();
    let url = shared.url(&database);
    let refused = Store::connect(&url, Migrate::No).await;
    assert!(matches!(refused, Err(OpenError::Older { found: 0, needed: SCHEMA })), "{refused:?}");
    assert_eq!(shared.query(&database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(), "0");
    let many = futures_util::future::join_all((0..6).map(|_| Store::connect(&url, Migrate::Yes))).await;
    for (index, store) in many.into_iter().enumerate() {
        store.unwrap().request(first_deploy(&format!("service-{index}"))).await.unwrap();
    }
    assert_eq!(
        shared.query(&database, "SELECT max(version), count(*) FROM schema_version").unwrap(),
        format!("{SCHEMA}|3")
    );
    Store::connect(&url, Migrate::No).await.unwrap();
    shared.remove(&database).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_untouched() {
    let world = world().await;
    world.spoil("INSERT INTO schema_version (version, applied_at) VALUES (999, 1)").await;
    let refused = Store::connect(&world.place(), Migrate::Yes).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 999, least: 999, known: SCHEMA })), "{refused:?}");
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    for url in ["postgres://me:hunter2@127.0.0.1:1/shipway", "postgres://me:hunter2@[", "hunter2"] {
        let error = Store::connect(url, Migrate::Yes).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// The same rows as SQLite's file of that schema, and read as the same.
#[tokio::test]
async fn every_schema_there_was_is_read_for_ever() {
    is_read(include_str!("../fixtures/schema-0003.postgres.sql"), include_str!("../fixtures/schema-0003.txt")).await;
    is_read(include_str!("../fixtures/schema-0004.postgres.sql"), include_str!("../fixtures/schema-0004.txt")).await;
    is_read(include_str!("../fixtures/schema-0005.postgres.sql"), include_str!("../fixtures/schema-0005.txt")).await;
}

async fn is_read(dump: &str, text: &str) {
    let shared = Postgres::shared();
    let database = shared.create(None).unwrap();
    shared.query(&database, dump).unwrap();
    let store = Store::connect(&shared.url(&database), Migrate::Yes).await.unwrap();
    let tasks = shared.query(&database, "SELECT id FROM task ORDER BY number").unwrap();
    let tasks = tasks.lines().map(str::to_owned).collect();
    assert_eq!(crate::opening::describe(&store, tasks).await, text);
    store.request(first_deploy("one-more")).await.unwrap();
    store.close().await;
    shared.remove(&database).unwrap();
}

/// A queue of ten thousand before a history of fifty thousand, of ever so many projects:
/// the rows that the server reads for a claim are a few for each project.
#[tokio::test]
async fn a_claim_reads_neither_the_queue_nor_the_history() {
    const PROJECTS: i64 = 50;
    const CLAIMS: i64 = 10;
    let shared = Postgres::shared();
    let database = shared.create(None).unwrap();
    let url = shared.url(&database);
    let store = Store::connect(&url, Migrate::Yes).await.unwrap();
    store.request(first_deploy("hello")).await.unwrap();
    store.close().await;
    let tasks = |from: i64, to: i64, state: &str| {
        format!(
            "INSERT INTO task (id, project, subject, kind, priority, payload, actor, state, attempt, attempts_max,
                 lease_token, not_before, created_at)
             SELECT gen_random_uuid(), 'p' || n % {PROJECTS}, gen_random_uuid(), kind, 0, payload, actor, '{state}', 0, 10,
                 0, 0, 0 FROM generate_series({from}, {to}) n, (SELECT * FROM task LIMIT 1) t"
        )
    };
    shared.query(&database, &tasks(1, 50_000, "done")).unwrap();
    shared.query(&database, &tasks(1, 10_000, "queued")).unwrap();
    shared.query(&database, "ANALYZE").unwrap();
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'task'";
    let before: i64 = shared.query(&database, read).unwrap().parse().unwrap();
    let store = Store::connect(&url, Migrate::No).await.unwrap();
    for _ in 0..CLAIMS {
        store.claim(&who("worker"), LONG).await.unwrap().unwrap();
    }
    // A session tells what it has read when it ends.
    store.close().await;
    shared.disconnect(&database).unwrap();
    let rows = shared.query(&database, read).unwrap().parse::<i64>().unwrap() - before;
    assert!(rows > 0 && rows < CLAIMS * PROJECTS * 10, "{CLAIMS} claims read {rows} rows");
    shared.remove(&database).unwrap();
}

/// What is said of a database whose server has just gone.
fn is_away(reason: &str) -> bool {
    let words = ["it cannot be reached", "its connection was lost", "it is starting or stopping"];
    words.iter().any(|word| reason.starts_with(word))
}

#[tokio::test]
async fn a_server_that_crashes_and_comes_back_has_lost_nothing_that_was_answered() {
    let (server, url) = server();
    let store = Store::connect(&url, Migrate::Yes).await.unwrap();
    let mut services = Vec::new();
    for round in 0..4 {
        let accepted = store.request(first_deploy(&format!("service-{round}"))).await.unwrap();
        services.push(accepted.service.id);
        server.stop(if round % 2 == 0 { Stop::Immediate } else { Stop::Fast }).unwrap();
        let reason = unavailable(store.find_service_by_id(accepted.service.id).await);
        assert!(is_away(&reason), "{reason}");
        let reason = unavailable(store.request(first_deploy("never")).await);
        assert!(is_away(&reason), "{reason}");
        assert!(Store::connect(&url, Migrate::Yes).await.is_err());
        server.resume().unwrap();
        for id in &services {
            wait_until("it is read again", async || store.find_service_by_id(*id).await.is_ok()).await;
            assert!(store.find_service_by_id(*id).await.unwrap().is_some());
        }
    }
    assert_eq!(store.list_all_services(None, 100).await.unwrap().len(), 4, "and nothing that was not");
    while let Some(lease) = store.claim(&who("worker"), LONG).await.unwrap() {
        store.finish(&lease, &done(None)).await.unwrap();
    }
    assert_eq!(store.task_counts().await.unwrap().queued, 0);
}

/// Sessions are killed all the time, in the middle of everything, the listening one too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_sessions_cost_answers_but_never_half_a_change() {
    let world = world().await;
    let database = world.texts("SELECT current_database()::text").await.remove(0);
    let killer = std::thread::spawn(move || {
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
        (0..25).for_each(|_| drop(Postgres::shared().query("postgres", &sql)));
    });
    let mut accepted = Vec::new();
    let mut refused = 0;
    for round in 0.. {
        match world.request(first_deploy(&format!("service-{round}"))).await {
            Ok(answer) => accepted.push(answer.service.id),
            Err(error) => {
                drop(unavailable::<()>(Err(error)));
                refused += 1;
            }
        }
        if killer.is_finished() {
            break;
        }
    }
    killer.join().unwrap();
    assert!(!accepted.is_empty());
    wait_until("it is read again", async || world.task_counts().await.is_ok()).await;
    for id in &accepted {
        assert_eq!(world.story(*id).await, ["deploy asked"]);
    }
    // A commit whose answer was lost may have happened; then all of it has.
    let services = world.list_all_services(None, 1000).await.unwrap();
    assert!((accepted.len()..=accepted.len() + refused).contains(&services.len()));
    for service in services {
        assert_eq!(world.story(service.id).await, ["deploy asked"]);
    }
    assert_eq!(world.number("SELECT count(*) FROM task").await, world.number("SELECT count(*) FROM service").await);
}

#[tokio::test]
async fn a_database_that_is_read_only_says_so_and_recovers() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let database = world.texts("SELECT current_database()::text").await.remove(0);
    let switch = async |to: &str| {
        let sql = format!("ALTER DATABASE {database} SET default_transaction_read_only = {to}");
        Postgres::shared().query("postgres", &sql).unwrap();
        Postgres::shared().disconnect(&database).unwrap();
    };
    switch("on").await;
    wait_until("it notices", async || world.check_writable().await.is_err()).await;
    assert_eq!(unavailable(world.request(first_deploy("more")).await), "it is read-only");
    assert!(world.find_service_by_id(id).await.unwrap().is_some(), "reading goes on");
    switch("off").await;
    wait_until("it is over", async || world.check_writable().await.is_ok()).await;
    world.ask_first("more").await;
}

#[tokio::test]
async fn a_lock_held_too_long_says_so_and_is_over_with_it() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let mut db = PgConnection::connect(&world.place()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM service FOR UPDATE").execute(&mut db).await.unwrap();
    let started = std::time::Instant::now();
    let reason = unavailable(world.request(change(id, shipway_model::TaskPayload::Stop)).await);
    assert_eq!(reason, "it is locked by another process");
    assert!(started.elapsed() < Duration::from_secs(15), "the wait is bounded: {:?}", started.elapsed());
    assert_eq!(world.service(id).await.version, 1, "reading goes on");
    db.close().await.unwrap();
    wait_until("the lock is gone", async || world.request(change(id, shipway_model::TaskPayload::Stop)).await.is_ok())
        .await;
}

#[tokio::test]
async fn what_one_process_changes_wakes_another() {
    let world = world().await;
    let other = world.again().await;
    let mut notices = other.notices();
    for round in 0..5 {
        let seen = notices.borrow_and_update().tasks;
        world.ask_first(&format!("service-{round}")).await;
        let woken = notices.wait_for(|now| now.tasks > seen);
        tokio::time::timeout(LIMIT, woken).await.unwrap().unwrap();
    }
    // Deaf, it looks by the clock.
    world.spoil("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").await;
    let seen = notices.borrow_and_update().tasks;
    let looks = notices.wait_for(|now| now.tasks > seen);
    tokio::time::timeout(LIMIT, looks).await.unwrap().unwrap();
    let accepted = world.ask_first("after").await;
    let lease = loop {
        if let Some(lease) = other.claim(&who("other"), LONG).await.unwrap() {
            if lease.task.id == accepted.task {
                break lease;
            }
            other.finish(&lease, &done(None)).await.unwrap();
        }
    };
    let outcome = done(None);
    let (waited, finished) = tokio::join!(world.wait_task(accepted.task, LIMIT), other.finish(&lease, &outcome));
    finished.unwrap();
    assert_eq!(waited.unwrap(), Some(outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_pooler_in_transaction_mode_all_goes_on() {
    let (server, url) = server();
    let database = url.rsplit('/').next().unwrap();
    let pooler = Pooler::start(&server).unwrap();
    let url = pooler.url(database);
    wait_until("the pooler answers", async || Store::connect(&url, Migrate::Yes).await.is_ok()).await;
    let store = Store::connect(&url, Migrate::No).await.unwrap();
    let other = Store::connect(&url, Migrate::No).await.unwrap();
    let work = (0..6).map(|worker| {
        let store = if worker % 2 == 0 { store.clone() } else { other.clone() };
        tokio::spawn(async move {
            for round in 0..10 {
                let accepted = store.request(first_deploy(&format!("service-{worker}-{round}"))).await.unwrap();
                let lease = store.claim(&who("worker"), LONG).await.unwrap();
                if let Some(lease) = lease {
                    store.heartbeat(&lease, LONG).await.unwrap();
                    store.finish(&lease, &done(None)).await.unwrap();
                }
                assert!(store.find_service_by_id(accepted.service.id).await.unwrap().is_some());
            }
        })
    });
    for ended in futures_util::future::join_all(work).await {
        ended.unwrap();
    }
    while let Some(lease) = other.claim(&who("worker"), LONG).await.unwrap() {
        other.finish(&lease, &done(None)).await.unwrap();
    }
    let counts = store.task_counts().await.unwrap();
    assert_eq!((counts.queued, counts.running), (0, 0));
}

/// Who waits for a table makes all others wait: so a migration lets go soon, and who makes
/// it is killed while it waits.
#[tokio::test]
async fn a_migration_that_has_to_wait_for_a_table_lets_go_and_is_made_later() {
    let shared = Postgres::shared();
    let database = shared.create(None).unwrap();
    shared.query(&database, include_str!("../fixtures/schema-0003.postgres.sql")).unwrap();
    let url = shared.url(&database);
    let mut reader = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM task").execute(&mut reader).await.unwrap();

    let late = Store::connect(&url, Migrate::Yes).await;
    let Err(OpenError::Open { source, .. }) = &late else { panic!("{late:?}") };
    assert!(source.to_string().contains("lock timeout"), "{source}");
    let killed = crate::postgres::child::Other::start("migrate", &url);
    let waits =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'");
    wait_until("it waits for the table", async || shared.query("postgres", &waits).unwrap() != "0").await;
    killed.kill();
    assert_eq!(shared.query(&database, "SELECT max(version) FROM schema_version").unwrap(), "3");

    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    wait_until("it is made", async || Store::connect(&url, Migrate::Yes).await.is_ok()).await;
    assert_eq!(shared.query(&database, "SELECT max(version) FROM schema_version").unwrap(), SCHEMA.to_string());
    shared.disconnect(&database).unwrap();
    shared.remove(&database).unwrap();
}
