//! Who gets which connection.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Sqlite;
use sqlx::pool::PoolOptions;

use super::{Shelf, Taken};
use crate::door::Doubt;

fn shelf(connections: u32, doubt: &Doubt) -> Arc<Shelf<Sqlite>> {
    let pool = PoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_millis(200));
    Shelf::new(pool.connect_lazy("sqlite::memory:").unwrap(), doubt.clone(), None)
}

/// A temporary table is its connection's own: it tells one from another.
async fn mark(connection: &mut Taken<Sqlite>) {
    sqlx::query("CREATE TEMP TABLE mark (x INTEGER)").execute(&mut **connection).await.unwrap();
}

async fn is_marked(connection: &mut Taken<Sqlite>) -> bool {
    sqlx::query("SELECT 1 FROM mark").fetch_all(&mut **connection).await.is_ok()
}

fn resting(shelf: &Shelf<Sqlite>) -> usize {
    shelf.resting.lock().unwrap().len()
}

#[tokio::test]
async fn what_comes_back_good_rests_and_is_the_next_ones() {
    let shelf = shelf(2, &Doubt::default());
    let mut one = shelf.take().await.unwrap();
    mark(&mut one).await;
    one.is_good();
    drop(one);
    assert_eq!(resting(&shelf), 1);
    let mut again = shelf.take().await.unwrap();
    assert!(is_marked(&mut again).await);
    let mut other = shelf.take().await.unwrap();
    assert!(!is_marked(&mut other).await);
}

#[tokio::test]
async fn what_comes_back_unsaid_is_the_pools_and_what_failed_is_closed() {
    let shelf = shelf(1, &Doubt::default());
    let mut one = shelf.take().await.unwrap();
    mark(&mut one).await;
    drop(one);
    assert_eq!(resting(&shelf), 0);
    let mut again = shelf.take().await.unwrap();
    assert!(is_marked(&mut again).await, "the pool found it alive");
    again.is_good();
    again.close_on_drop();
    drop(again);
    assert!(!is_marked(&mut shelf.take().await.unwrap()).await);
}

#[tokio::test]
async fn after_a_failure_what_rests_is_not_trusted() {
    let doubt = Doubt::default();
    let shelf = shelf(1, &doubt);
    let mut one = shelf.take().await.unwrap();
    mark(&mut one).await;
    one.is_good();
    drop(one);
    doubt.raise();
    assert!(!is_marked(&mut shelf.take().await.unwrap()).await);
}

#[tokio::test]
async fn who_finds_no_seat_waits_and_is_told_when_it_is_in_vain() {
    let shelf = shelf(1, &Doubt::default());
    let one = shelf.take().await.unwrap();
    assert!(matches!(shelf.take().await, Err(sqlx::Error::PoolTimedOut)));
    let (next, ()) = tokio::join!(shelf.take(), async { drop(one) });
    next.unwrap().is_good();
    assert_eq!(resting(&shelf), 1);
}

#[tokio::test]
async fn closing_waits_for_what_is_in_use_and_leaves_nothing() {
    let shelf = shelf(2, &Doubt::default());
    let (mut one, mut other) = (shelf.take().await.unwrap(), shelf.take().await.unwrap());
    one.is_good();
    drop(one);
    let mut closing = std::pin::pin!(shelf.close());
    assert!(futures_util::poll!(&mut closing).is_pending());
    other.is_good();
    drop(other);
    closing.await;
    assert_eq!(resting(&shelf), 0);
    assert!(matches!(shelf.take().await, Err(sqlx::Error::PoolClosed)));
}

#[test]
fn a_shelf_may_be_dropped_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shelf = runtime.block_on(async {
        let shelf = shelf(1, &Doubt::default());
        shelf.take().await.unwrap().is_good();
        shelf
    });
    drop(runtime);
    assert_eq!(resting(&shelf), 1);
    drop(shelf);
}
