//! What only this crate can see of its SQLite side.

use super::{CLAIM, is_new_enough};
use crate::Store;

#[test]
fn versions_compare_by_their_numbers() {
    for (version, expected) in [
        ("3.51.3", true),
        ("3.51.10", true),
        ("3.52.0", true),
        ("4.0", true),
        ("3.51.2", false),
        ("3.9.99", false),
        ("3.51", false),
        ("nonsense", false),
    ] {
        assert_eq!(is_new_enough(version), expected, "{version}");
    }
}

#[tokio::test]
async fn the_claim_walks_open_tasks_only() {
    let (store, _folder) = Store::open_temporary().await.unwrap();
    let mut db = store.0.readers.acquire().await.unwrap();
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {CLAIM}"))).fetch_all(&mut *db).await.unwrap();
    let plan: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
    for step in [
        "SCAN t USING INDEX task_queued",
        "SEARCH r USING COVERING INDEX task_running (subject=?)",
        "SEARCH e USING INDEX task_queued_subject (subject=? AND number<?)",
    ] {
        assert!(plan.iter().any(|found| found == step), "{step} is not in {plan:#?}");
    }
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
}
