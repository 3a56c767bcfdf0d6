//! Two versions at once: a newer one has migrated the database while this one works, or
//! before it starts.

use shipway_store::{Migrate, OpenError, SCHEMA, SCHEMA_LEAST, Store};

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
        for word in ["999", "998", &format!("up to {SCHEMA}"), "run the version from before"] {
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
