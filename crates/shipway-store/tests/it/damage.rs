//! Rows that make no sense: somebody edited them, or a later version wrote them.

use shipway_store::StoreError;

use super::world::*;

#[tokio::test]
async fn a_row_that_makes_no_sense_is_an_error_and_no_panic() {
    let spoilt = [
        "UPDATE service SET state = 'sleepy'",
        "UPDATE service SET state = 'live', release = NULL",
        "UPDATE service SET state = 'live', release = -1",
        "UPDATE service SET state = 'unhealthy', reason = NULL",
        "UPDATE service SET wanted = 'maybe'",
        "UPDATE service SET version = -1",
        "UPDATE service SET project = ''",
        "UPDATE service SET name = 'Not A Label'",
        "UPDATE service SET id = 'x' || id",
        // PostgreSQL lets no such text in.
        "UPDATE service SET reason = CAST(x'ff' AS TEXT), state = 'failed'",
    ];
    let spoilt = &spoilt[..spoilt.len() - usize::from(is_postgres())];
    for sql in spoilt.iter().copied() {
        let world = world().await;
        let accepted = world.ask_first("hello").await;
        world.spoil(sql).await;
        for result in [
            world.list_all_services(None, 10).await.map(drop),
            world.list_services(&default_project(), None, 10).await.map(drop),
            world.request(first_deploy("hello")).await.map(drop),
        ] {
            match result {
                Err(StoreError::Corrupt(_)) => {}
                // Where the damage hides the row from this question.
                Ok(()) if sql.contains("project") || sql.contains("name") => {}
                other => panic!("{sql}: {other:?}"),
            }
        }
        let lease = world.claim(&who("worker"), LONG).await.unwrap();
        assert_eq!(lease.map(|lease| lease.task.id), Some(accepted.task), "{sql}");
        world.spoil("DELETE FROM service").await;
        world.ask_first("hello").await;
    }
}

#[tokio::test]
async fn a_damaged_task_is_an_error_for_who_asks_and_no_obstacle_for_others() {
    for sql in [
        "UPDATE task SET payload = '{'",
        "UPDATE task SET subject = 'nobody'",
        "UPDATE task SET project = 'No Label'",
        "UPDATE task SET attempt = -5",
        "UPDATE task SET attempt = 9000000000",
    ] {
        let world = world().await;
        let accepted = world.ask_first("hello").await;
        world.spoil(sql).await;
        let found = world.find_task(accepted.task).await;
        assert!(matches!(found, Err(StoreError::Corrupt(_))), "{sql}: {found:?}");
        let waited = world.wait_task(accepted.task, LIMIT).await;
        assert!(matches!(waited, Err(StoreError::Corrupt(_))), "{sql}: {waited:?}");
        let next = world.ask_first("next").await;
        assert_eq!(world.take().await.task.id, next.task, "{sql}");
    }
}
