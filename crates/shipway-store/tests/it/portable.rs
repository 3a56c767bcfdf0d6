//! A state taken from one database to the other, and back.

use std::io::Cursor;

use shipway_model::{InstanceRole, TaskPayload, TokenId};
use shipway_store::{Claimant, PortableError, SCHEMA, Store, Token};
use uuid::Uuid;

use crate::{postgres, sqlite};
use sqlite::world::*;

async fn export(store: &Store) -> String {
    let mut file = Vec::new();
    store.export(&mut file).await.unwrap();
    String::from_utf8(file).unwrap()
}

async fn import(store: &Store, file: &str) -> Result<u64, PortableError> {
    store.import(Cursor::new(file.to_owned())).await
}

/// A world with a row of everything.
async fn lived_in() -> World {
    let world = world().await;
    let id = world.live_service("hello").await;
    world.ask(id, TaskPayload::Restart).await;
    let lease = world.take().await;
    let release = world.find_release(id, 1).await.unwrap().unwrap();
    world.put_instance(&lease, &instance_of(&release, InstanceRole::Candidate)).await.unwrap();
    world.ask(id, TaskPayload::Stop).await;
    let token = Token {
        id: TokenId(Uuid::new_v4()),
        name: "laptop".to_owned(),
        role: "admin".to_owned(),
        project: default_project(),
        created_at: 1,
        expires_at: None,
        last_used_at: None,
    };
    world.add_token(&token, [0xa7; 32], "local").await.unwrap();
    world.put_image(&sqlite::images::image("box:latest", 1), "local").await.unwrap();
    world
}

#[tokio::test]
async fn a_state_goes_to_postgresql_and_back_and_the_work_goes_on() {
    let world = lived_in().await;
    let file = export(&world).await;
    let there = postgres::world::world().await;
    let rows = import(&there, &file).await.unwrap();
    assert_eq!(rows, file.lines().count() as u64 - 2);
    assert_eq!(export(&there).await, file);
    assert!(there.use_token([0xa7; 32]).await.unwrap().is_some());

    // What was running when it was exported is given back, and done under a newer token.
    assert_eq!(there.rescue_worker("worker").await.unwrap(), 1);
    let host = Claimant { engine: Some("engine-1".to_owned()), ..who("host-1") };
    let lease = there.claim(&host, LONG).await.unwrap().unwrap();
    assert_eq!((lease.task.payload.clone(), lease.task.attempt), (TaskPayload::Restart, 2));
    there.finish(&lease, &done(Some(1))).await.unwrap();
    let asked = there.request(first_deploy("another")).await.unwrap();
    let back = sqlite::world::world().await;
    import(&back, &export(&there).await).await.unwrap();
    let stop = back.take().await;
    assert_eq!(stop.task.payload, TaskPayload::Stop, "no engine keeps it from the only process");
    assert!(stop.token > lease.token);
    assert_eq!(back.take().await.task.id, asked.task);
    back.ask_first("one-more").await;
}

#[tokio::test]
async fn a_database_that_is_not_empty_is_left_alone() {
    let world = lived_in().await;
    let file = export(&world).await;
    let refused = import(&world, &file).await;
    assert!(matches!(refused, Err(PortableError::NotEmpty { table: "service", rows: 1 })), "{refused:?}");
    assert_eq!(export(&world).await, file);
}

#[tokio::test]
async fn a_file_that_is_cut_or_spoilt_fills_nothing() {
    let world = lived_in().await;
    let whole = export(&world).await;
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    let (on_file, on_server) = (sqlite::world::world().await, postgres::world::world().await);
    let missing = [&lines[..3], &lines[4..]].concat().join("\n") + "\n";
    for (spoilt, says) in [
        (String::new(), "ends too early"),
        (cut.clone(), "ends too early"),
        (cut + "{\"rows\":", "no end"),
        (missing, "rows were written"),
        (whole.replace(&format!("\"schema\":{SCHEMA}"), "\"schema\":999"), "schema 999"),
        (whole.replace("\"table\":\"token\"", "\"table\":\"tokens; DROP TABLE token\""), "no such table"),
        (whole.replace("\"wanted\":", "\"wanted, id\":"), "no column"),
        (whole.replace("\"version\":", "\"version\":\"1\",\"x\":"), "cannot be"),
        ("null\n".to_owned(), "no line of an export"),
    ] {
        for empty in [&on_file.store, &on_server.store] {
            let Err(error) = import(empty, &spoilt).await else { panic!("{says}") };
            assert!(error.to_string().contains(says), "{error}: {says}");
        }
    }
    for empty in [&on_file.store, &on_server.store] {
        import(empty, &whole.replace("\"state\":\"live\"", "\"state\":null")).await.unwrap_err();
        assert_eq!(empty.list_all_services(None, 10).await.unwrap(), []);
        import(empty, &whole).await.unwrap();
        assert_eq!(export(empty).await, whole);
    }
}
