//! Whose turn it is.

use super::{CLAIM, CLAIM_OF_ONLY, Claimant, HEADS, Head, in_turn};
use crate::query::worded;
use crate::{Store, sqlite};

fn head(number: i64, project: &str, priority: i64, running: i64) -> Head {
    Head { number, project: project.to_owned(), priority, running }
}

fn turns(heads: Vec<Head>) -> Vec<i64> {
    in_turn(heads).into_iter().map(|head| head.number).collect()
}

#[test]
fn who_has_less_at_work_goes_first_and_then_who_asked_first() {
    assert_eq!(turns(vec![head(1, "a", 0, 3), head(9, "b", 0, 0), head(5, "c", 0, 1)]), [9, 5, 1]);
    assert_eq!(turns(vec![head(7, "a", 0, 1), head(3, "b", 0, 1)]), [3, 7]);
}

#[test]
fn a_hundred_steps_of_priority_outweigh_a_task_at_work() {
    assert_eq!(turns(vec![head(1, "a", 0, 0), head(2, "b", 9, 0)]), [2, 1], "a little is enough among equals");
    assert_eq!(turns(vec![head(1, "a", 0, 0), head(2, "b", 99, 1)]), [1, 2]);
    assert_eq!(turns(vec![head(1, "a", 0, 0), head(2, "b", 101, 1)]), [2, 1]);
    assert_eq!(turns(vec![head(1, "a", i64::MIN, 0), head(2, "b", i64::MAX, i64::MAX)]), [2, 1], "no number breaks it");
}

#[test]
fn labels_are_told_apart() {
    let claimant = Claimant { labels: ["gpu".to_owned(), "arm64".to_owned()].into(), ..Claimant::named("w") };
    assert_eq!(claimant.labels(), ",arm64,gpu,");
    assert_eq!(Claimant::named("w").labels(), ",");
}

#[tokio::test]
async fn the_claim_walks_open_tasks_only() {
    let (store, _folder) = Store::open_temporary().await.unwrap();
    for sql in [HEADS, CLAIM, CLAIM_OF_ONLY] {
        let sql = format!("EXPLAIN QUERY PLAN {}", worded(sql.into(), sqlite::WORDS));
        let plan: Vec<(i64, i64, i64, String)> =
            store.read(async |db| Ok(crate::query::query(sql.clone()).fetch_all(db).await?)).await.unwrap();
        let plan: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
        for step in [
            "SEARCH t USING INDEX task_queued_project (project=?)",
            "SEARCH r USING COVERING INDEX task_running (subject=?)",
            "SEARCH e USING INDEX task_queued_subject (subject=? AND number<?)",
            "SEARCH r USING COVERING INDEX task_running_project (project=?)",
        ] {
            assert!(plan.iter().any(|found| found == step), "{step} is not in {plan:#?}");
        }
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
    }
}
