//! How statements are put together.

use super::{Batch, Value, query, renumbered};
use crate::{Store, StoreError};

#[test]
fn values_of_a_statement_behind_others_come_after_theirs() {
    let mut text = String::new();
    renumbered("UPDATE a SET b = $2, c = $10 WHERE d = $1", 3, &mut text);
    assert_eq!(text, "UPDATE a SET b = $5, c = $13 WHERE d = $4");

    let mut batch = Batch::default();
    batch.add("INSERT INTO a VALUES ($1, $2)", vec![Value::from(1), Value::from("x")]);
    batch.add("DELETE FROM b", Vec::new());
    batch.add("UPDATE c SET d = $1 WHERE e = $1", vec![Value::from(2)]);
    assert_eq!(batch.sql, "INSERT INTO a VALUES ($1, $2);DELETE FROM b;UPDATE c SET d = $3 WHERE e = $3");
    assert_eq!(batch.values.len(), 3);
}

#[tokio::test]
async fn what_is_done_for_each_of_many_waits_in_short_batches_and_in_its_order() {
    let (store, _folder) = Store::open_temporary().await.unwrap();
    let values = store.write(|tx| {
        Box::pin(async move {
            for n in 0..100_i64 {
                query("INSERT INTO counter (name, value) VALUES ($1, $2)")
                    .bind(format!("n{n}"))
                    .bind(n)
                    .later(tx.db())
                    .await?;
                query("UPDATE counter SET value = value * 10 WHERE name = $1")
                    .bind(format!("n{n}"))
                    .later(tx.db())
                    .await?;
            }
            let changed =
                query("UPDATE counter SET value = value + 1 WHERE name IN ('n7', 'n99')").execute(tx.db()).await?;
            assert_eq!(changed, 2, "what waited is not counted");
            Ok(query("SELECT value FROM counter WHERE name LIKE 'n%' ORDER BY value").scalars::<i64>(tx.db()).await?)
        })
    });
    let expected: Vec<i64> = (0..100).map(|n| n * 10 + i64::from(n == 7 || n == 99)).collect();
    assert_eq!(values.await.unwrap(), expected);
}

#[tokio::test]
async fn what_waits_goes_with_the_commit_and_is_forgotten_with_the_transaction() {
    let (store, _folder) = Store::open_temporary().await.unwrap();
    let add = "UPDATE counter SET value = value + 1 WHERE name = 'probe'";
    store.write(move |tx| Box::pin(async move { Ok(query(add).later(tx.db()).await?) })).await.unwrap();
    let undone = store.write::<(), _>(move |tx| {
        Box::pin(async move {
            query(add).later(tx.db()).await?;
            Err(StoreError::Stale)
        })
    });
    assert!(matches!(undone.await, Err(StoreError::Stale)));
    let wrong = store.write(move |tx| {
        Box::pin(async move {
            query("INSERT INTO counter (name, value) VALUES ('probe', 1)").later(tx.db()).await?;
            Ok(query(add).later(tx.db()).await?)
        })
    });
    assert!(matches!(wrong.await, Err(StoreError::Corrupt(_))), "it fails at the commit, whole");
    let sql = "SELECT value FROM counter WHERE name = 'probe'";
    let value = store.read(async |db| Ok(query(sql).scalar::<i64>(db).await?)).await.unwrap();
    assert_eq!(value, 1);
}
