//! Looking again and again until something is so.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Between two looks: the first wait, and the longest.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LONGEST: Duration = Duration::from_millis(250);

/// Looks until `condition` holds, or for `limit`; returns whether it does. What cannot be
/// asked is not so yet.
pub async fn look_until<C, E>(limit: Duration, condition: impl Fn() -> C) -> bool
where
    C: Future<Output = Result<bool, E>>,
{
    let looking = async {
        let mut pause = LOOK_FIRST;
        while !matches!(condition().await, Ok(true)) {
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
    };
    timeout(limit, looking).await.is_ok()
}
