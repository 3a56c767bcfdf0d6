//! The host image, made before the first deploy needs it.
//!
//! The first start of a host copies some hundred megabytes of its packages; a
//! deploy should not be what waits for that. Until it is made, `/readyz` says so.

use std::sync::Arc;
use std::time::Duration;

use shipway_api::{CheckResult, ReadyCheck};
use shipway_driver::Driver;
use shipway_stdx::backoff::Backoff;
use shipway_stdx::shutdown::Shutdown;
use tokio::sync::watch;

/// A host whose packages are being changed is tried again.
const RETRIES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// What is known of the host image: it is there, or why not.
type State = Result<(), String>;

/// Makes the host image; the check says when it is there.
pub(crate) fn begin(driver: Arc<dyn Driver>, shutdown: Shutdown) -> (ReadyCheck, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Err("the host image is being made".to_owned()));
    let check = move || -> CheckResult {
        let state = receiver.borrow().clone();
        Box::pin(async move { state })
    };
    let check = ReadyCheck { name: "host_image", check: Arc::new(check) };
    (check, make(driver, sender, shutdown))
}

async fn make(driver: Arc<dyn Driver>, state: watch::Sender<State>, mut shutdown: Shutdown) {
    let mut failures = 0;
    loop {
        match driver.current_root().await {
            Ok(root) => {
                tracing::info!(?root, "the host image is there");
                state.send_modify(|now| *now = Ok(()));
                return shutdown.requested().await;
            }
            Err(error) => {
                tracing::warn!(%error, "the host image cannot be made");
                state.send_modify(|now| *now = Err(format!("the host image cannot be made: {error}")));
            }
        }
        failures += 1;
        tokio::select! {
            () = tokio::time::sleep(RETRIES.wait_after(failures)) => {}
            () = shutdown.requested() => return,
        }
    }
}
