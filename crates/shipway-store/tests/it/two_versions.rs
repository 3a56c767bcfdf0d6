//! Two versions at once: a newer one has migrated the database while this one works, or
//! before it starts.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use shipway_store::{Migrate, OpenError, PortableError, SCHEMA, SCHEMA_LEAST, Store, TaskFilter};
use shipway_testkit::Postgres;

use super::child::{Other, say};
use super::world::*;

/// A database as a newer version leaves it, which has only added something.
const EXPANDED: &str = "INSERT INTO schema_version (version, applied_at, least) VALUES (999, 1, 4);
     ALTER TABLE task ADD COLUMN of_the_future TEXT;
     CREATE TABLE of_the_future (id TEXT NOT NULL PRIMARY KEY);";

/// The same for one that has taken something away.
const CONTRACTED: &str = "INSERT INTO schema_version (version, applied_at, least) VALUES (999, 1, 998);";

async fn try_open(place: &str, migrate: Migrate) -> Result<Store, OpenError> {
    if is_postgres() { Store::connect(place, migrate).await } else { Store::open(std::path::Path::new(place)).await }
}

#[tokio::test]
async fn a_schema_that_a_newer_version_has_only_added_to_is_worked_with() {
    let world = world().await;
    world.live_service("hello").await;
    world.spoil(EXPANDED).await;
    // Who runs already, and who starts now: as a janitor, who would migrate, and as another.
    world.live_service("during").await;
    for migrate in [Migrate::Yes, Migrate::No] {
        let store = try_open(&world.place(), migrate).await.unwrap();
        store.request(first_deploy(&format!("after-{migrate:?}").to_lowercase())).await.unwrap();
        let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
        world.make_live(&lease).await;
        assert_eq!(store.list_all_services(None, 10).await.unwrap().len(), if migrate == Migrate::Yes { 3 } else { 4 });
    }
    assert_eq!(world.number("SELECT max(version) FROM schema_version").await, 999, "it is left as it is");
}

/// Every JSON that a row has, with a field that nobody here knows.
#[tokio::test]
async fn fields_that_a_newer_version_has_added_are_passed_over() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let waits = world.ask_first("another").await.task;
    let before = (world.service(id).await, world.list_releases(id, None, 10).await.unwrap());
    let instances = world.list_instances(None).await.unwrap();
    let (story, task) = (world.story(id).await, world.find_task(waits).await.unwrap());
    for column in ["task payload", "task outcome", "release spec", "event kind", "instance endpoint"] {
        let (table, column) = column.split_once(' ').unwrap();
        let added = format!("'{{\"of_the_future\":[1],' || substr({column}, 2)");
        world.spoil(format!("UPDATE {table} SET {column} = {added} WHERE {column} LIKE '{{%'")).await;
        let left = format!("SELECT count(*) FROM {table} WHERE {column} LIKE '{{\"of_the_future%'");
        assert!(world.number(left).await > 0, "{table} has {column}");
    }
    assert_eq!((world.service(id).await, world.list_releases(id, None, 10).await.unwrap()), before);
    assert_eq!(world.list_instances(None).await.unwrap(), instances);
    assert_eq!((world.story(id).await, world.find_task(waits).await.unwrap()), (story, task));
    assert_eq!(world.take().await.task.id, waits);
}

#[tokio::test]
async fn a_schema_that_a_newer_version_has_taken_from_is_refused_untouched() {
    let world = world().await;
    world.ask_first("hello").await;
    world.spoil(CONTRACTED).await;
    for migrate in [Migrate::Yes, Migrate::No] {
        let refused = try_open(&world.place(), migrate).await;
        let Err(error @ OpenError::Newer { found: 999, least: 998, known: SCHEMA }) = refused else {
            panic!("{refused:?}")
        };
        let said = error.to_string();
        for word in ["999", "998", &format!("up to {SCHEMA}"), "this one knows", "run the newer version"] {
            assert!(said.contains(word), "{said}");
        }
    }
    assert_eq!(
        world.number("SELECT count(*) FROM schema_version WHERE version < 999").await,
        if is_postgres() { SCHEMA - 2 } else { SCHEMA }
    );
}

#[tokio::test]
async fn what_one_migration_took_away_no_later_one_brings_back() {
    let world = world().await;
    world.spoil(CONTRACTED).await;
    world.spoil("INSERT INTO schema_version (version, applied_at, least) VALUES (1000, 1, 4)").await;
    let refused = try_open(&world.place(), Migrate::Yes).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 1000, least: 998, known: SCHEMA })), "{refused:?}");
}

#[tokio::test]
async fn the_tables_say_what_this_version_says() {
    let world = world().await;
    let says = |what: &str| format!("SELECT {what} FROM schema_version WHERE version = {SCHEMA}");
    assert_eq!(world.number(says("least")).await, SCHEMA_LEAST);
}

#[tokio::test]
async fn whose_schema_is_taken_away_while_it_works_writes_no_more_and_says_why() {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, shipway_model::TaskPayload::Restart).await;
    let lease = world.take().await;
    assert_eq!(world.schema_found(), SCHEMA);
    world.spoil(CONTRACTED).await;
    wait_until("it notices", async || world.check_writable().await.is_err()).await;
    for refused in [world.finish(&lease, &done(None)).await, world.heartbeat(&lease, LONG).await] {
        let reason = unavailable(refused);
        assert!(reason.contains("schema 999") && reason.contains(&format!("up to {SCHEMA}")), "{reason}");
    }
    assert_eq!(world.number("SELECT count(*) FROM task WHERE state = 'running'").await, 1, "it is as it was");
    let why = tokio::time::timeout(LIMIT, world.outgrown()).await.unwrap();
    assert!(matches!(why, OpenError::Newer { found: 999, least: 998, known: SCHEMA }), "{why}");
}

#[tokio::test]
async fn whoever_works_with_a_newer_schema_is_not_outgrown() {
    let world = world().await;
    world.spoil(EXPANDED).await;
    wait_until("it notices", async || {
        world.check_writable().await.unwrap();
        world.schema_found() == 999
    })
    .await;
    world.live_service("hello").await;
    let outgrown = tokio::time::timeout(Duration::from_millis(10), world.outgrown()).await;
    assert!(outgrown.is_err(), "{outgrown:?}");
}

#[tokio::test]
async fn what_a_newer_version_has_added_is_not_left_out_of_an_export() {
    let world = world().await;
    world.spoil(EXPANDED).await;
    let refused = world.export(&mut Vec::new()).await;
    assert!(matches!(refused, Err(PortableError::Newer { found: 999, known: SCHEMA })), "{refused:?}");
}

/// A task that only a newer version can read, in a database where there may be one.
async fn of_the_future(world: &World) -> shipway_model::TaskId {
    let task = world.ask_first("hello").await.task;
    world.spoil(EXPANDED).await;
    world.spoil("UPDATE task SET payload = '{\"task\":\"from the future\"}'").await;
    task
}

#[tokio::test]
async fn what_a_newer_version_may_read_is_left_to_it() {
    let world = world().await;
    let task = of_the_future(&world).await;
    for _ in 0..3 {
        assert!(world.claim(&who("old"), LONG).await.unwrap().is_none());
        assert_eq!(world.next_due(&who("old")).await.unwrap(), None, "nobody runs in circles");
    }
    assert_eq!(world.list_given_up(0, 10).await.unwrap(), []);
    let page = world.list_tasks(&TaskFilter::default(), None, 10).await.unwrap();
    assert!(page.tasks[0].not_before > page.now, "an operator sees that it waits: {:?}", page.tasks);
    assert_eq!(world.number("SELECT attempt FROM task").await, 1, "it was tried once, and rests for us");
    // A newer version has no rest to keep.
    let readable = "UPDATE task SET payload = '{\"task\":\"restart\"}', unread_by = unread_by - ";
    world.spoil(format!("{readable} 0")).await;
    assert!(world.claim(&who("old"), LONG).await.unwrap().is_none());
    world.spoil(format!("{readable} 1")).await;
    assert!(world.next_due(&who("newer")).await.unwrap().is_some());
    let lease = world.claim(&who("newer"), LONG).await.unwrap().unwrap();
    assert_eq!((lease.task.id, lease.task.attempt), (task, 2));
}

#[tokio::test]
async fn what_nobody_can_read_is_given_up_after_its_attempts() {
    let world = world().await;
    let task = of_the_future(&world).await;
    let other = world.ask_first("another").await.task;
    assert_eq!(world.take().await.task.id, other, "it keeps nobody else waiting");
    let mut looks = 0;
    while world.list_given_up(0, 10).await.unwrap().is_empty() {
        assert!(world.claim(&who("old"), LONG).await.unwrap().is_none());
        looks += 1;
        assert_eq!(world.number(format!("SELECT attempt FROM task WHERE id = '{task}'")).await, looks);
        // Four minutes, in no time.
        world.spoil("UPDATE task SET claimed_at = claimed_at - 50000000").await;
    }
    let given_up = world.list_given_up(0, 10).await.unwrap().remove(0);
    assert_eq!((given_up.id, given_up.attempts), (task, 10));
    assert!(given_up.outcome.contains("no version that is here can read it"), "{given_up:?}");
    assert!(world.claim(&who("old"), LONG).await.unwrap().is_none());
}

/// The child: opens a database, which is migrated.
pub(crate) async fn migrate(place: &str) {
    drop(open(place).await);
    say("migrated");
}

/// A database as the release with schema 3 left it, and where it is.
struct Old {
    place: String,
    folder: tempfile::TempDir,
}

impl Old {
    async fn new(template: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_postgres() {
            let database = Postgres::shared().create(Some(template)).unwrap();
            return Self { place: Postgres::shared().url(&database), folder };
        }
        let path = folder.path().join("shipway.sqlite");
        let file = std::fs::File::create(&path).unwrap();
        file.write_all_at(include_bytes!("../fixtures/schema-0003.sqlite"), 0).unwrap();
        Self { place: path.display().to_string(), folder }
    }

    /// The schema, and how many of the columns that schema 4 adds there are.
    async fn found(&self) -> (String, String) {
        let added = ["worker.address", "worker.certificate", "worker.secret", "schema_version.least", "task.unread_by"];
        if is_postgres() {
            let database = self.place.rsplit('/').next().unwrap();
            // The server undoes what nobody commits once it has noticed.
            Postgres::shared().disconnect(database).unwrap();
            let count = format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_name || '.' || column_name IN ('{}')",
                added.join("','")
            );
            let ask = |sql: &str| Postgres::shared().query(database, sql).unwrap();
            return (ask("SELECT max(version) FROM schema_version"), ask(&count));
        }
        let mut db = connect(std::path::Path::new(&self.place)).await;
        let version: i64 =
            sqlx::query_scalar("SELECT max(version) FROM schema_version").fetch_one(&mut db).await.unwrap();
        let count = format!(
            "SELECT count(*) FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.name || '.' || c.name IN ('{}')",
            added.join("','")
        );
        let columns: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut db).await.unwrap();
        (version.to_string(), columns.to_string())
    }
}

/// Every message to the server, every write and sync of the file: killed there, the old
/// schema or the new one is whole, and who comes next finds or makes the new one.
#[tokio::test]
async fn a_migration_that_is_killed_anywhere_leaves_one_schema_whole() {
    let template = if is_postgres() {
        let database = Postgres::shared().create(None).unwrap();
        Postgres::shared().query(&database, include_str!("../fixtures/schema-0003.postgres.sql")).unwrap();
        Postgres::shared().disconnect(&database).unwrap();
        database
    } else {
        String::new()
    };
    let calls = if is_postgres() { "sendto" } else { "pwrite64,fdatasync" };
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for point in 1.. {
        assert!(point < 200, "it never comes to its end");
        let old = Old::new(&template).await;
        let (filter, inject) = (format!("trace={calls}"), format!("inject={calls}:signal=KILL:when={point}"));
        let log = old.folder.path().join("trace").display().to_string();
        let strace = ["strace", "-f", "-qq", "-o", &log, "-e", &filter, "-e", &inject];
        let mut child = Other::start_under(&strace, "migrate", &old.place);
        let survived = child.hear().is_some();
        child.kill();
        let found = old.found().await;
        let whole = [(3, 0), (SCHEMA, 5)].map(|(schema, columns)| (schema.to_string(), columns.to_string()));
        assert!(whole.contains(&found), "killed at {point}: {found:?}");
        *seen.entry(found.0).or_default() += 1;
        let store = open(&old.place).await;
        store.request(first_deploy("one-more")).await.unwrap();
        store.close().await;
        if is_postgres() {
            Postgres::shared().remove(old.place.rsplit('/').next().unwrap()).unwrap();
        }
        if survived {
            break;
        }
    }
    assert!(seen["3"] > 1 && seen[&SCHEMA.to_string()] > 0, "killed before and after: {seen:?}");
    if is_postgres() {
        Postgres::shared().remove(&template).unwrap();
    }
}
