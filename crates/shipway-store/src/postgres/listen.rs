//! Hearing what other processes changed.
//!
//! Each process has one connection that listens. What it hears only wakes loops which
//! read again, so it may miss things; but it must not be deaf for long without knowing.
//! So it is its own listener too: when nothing was heard for a while it sends itself a
//! word, and when that does not come back (the connection is half open) it is deaf. While
//! it is, loops are woken by the clock.
//!
//! Behind a pooler in transaction mode nobody listens, and the clock does it all: a session
//! that listened would be given to somebody else, who then gets words he did not ask for
//! in the middle of an answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{PgPool, Postgres};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{CHANNEL, Link, notify};
use crate::Store;
use crate::door::{Changed, Inner};

/// After so long without a word it sends itself one.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// So long that word may take.
const ECHO_WAIT: Duration = Duration::from_secs(5);

/// Between two looks of a deaf process; up to twice as long, so that not all look at once.
const DEAF_PAUSE: Duration = Duration::from_millis(500);

/// How long opening a store waits until it hears; then it goes on, deaf for now.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// What a process sends itself.
const ECHO: &str = "echo";

/// Starts listening, until the store is closed or dropped.
pub(crate) async fn begin(store: &Store, options: &PgConnectOptions, link: Link) {
    let hears = Arc::new(Notify::new());
    let (weak, origin) = (Arc::downgrade(&store.0), store.0.origin);
    let listener = Listener { store: weak, origin, options: options.clone(), link, hears: Arc::clone(&hears) };
    if link == Link::Pooled {
        hears.notify_one();
    }
    let task = tokio::spawn(listener.run());
    if store.0.listener.set(task.abort_handle()).is_err() {
        task.abort();
    }
    // Late or never, it is the same: the clock wakes the loops meanwhile.
    drop(timeout(FIRST_WAIT, hears.notified()).await);
}

struct Listener {
    store: Weak<Inner>,
    origin: Uuid,
    options: PgConnectOptions,
    link: Link,
    /// Told when it hears.
    hears: Arc<Notify>,
}

impl Listener {
    async fn run(self) {
        loop {
            if self.link == Link::Direct {
                match self.hear().await {
                    Ok(()) => tracing::warn!("notices of other processes do not arrive; looking by the clock instead"),
                    Err(error) => tracing::debug!(%error, "not listening"),
                }
            }
            let Some(store) = self.store.upgrade() else { return };
            store.tell(Changed::ALL);
            drop(store);
            sleep(DEAF_PAUSE + jitter()).await;
        }
    }

    /// Listens until it fails, or until it turns out to be deaf.
    async fn hear(&self) -> sqlx::Result<()> {
        let pool: PgPool = PoolOptions::<Postgres>::new()
            .max_connections(1)
            .acquire_timeout(ECHO_WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        // Whatever was told until now was not heard.
        self.tell(Changed::ALL);
        self.hears.notify_one();
        let mut waits_for_echo = false;
        loop {
            let patience = if waits_for_echo { ECHO_WAIT } else { SILENCE_MAX };
            match timeout(patience, listener.try_recv()).await {
                Ok(Ok(Some(word))) => {
                    waits_for_echo = false;
                    self.understand(word.payload());
                }
                Ok(Ok(None)) => return Err(sqlx::Error::PoolClosed),
                Ok(Err(error)) => return Err(error),
                Err(_) if waits_for_echo => return Ok(()),
                Err(_) => {
                    self.send_echo().await?;
                    waits_for_echo = true;
                }
            }
        }
    }

    /// Wakes the loops that what another process said concerns.
    fn understand(&self, payload: &str) {
        let Some((origin, letters)) = payload.split_once(' ') else { return };
        if letters != ECHO && origin != self.origin.to_string() {
            self.tell(Changed::of_letters(letters));
        }
    }

    fn tell(&self, changed: Changed) {
        if let Some(store) = self.store.upgrade() {
            store.tell(changed);
        }
    }

    async fn send_echo(&self) -> sqlx::Result<()> {
        let Some(store) = self.store.upgrade() else { return Ok(()) };
        let mut db = store.pools.writer().await?;
        let sent = timeout(ECHO_WAIT, notify(&mut db, &format!("{} {ECHO}", self.origin))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            failed => {
                db.close_on_drop();
                failed.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut))
            }
        }
    }
}

/// Up to one more pause.
fn jitter() -> Duration {
    let [dice, ..] = Uuid::new_v4().into_bytes();
    DEAF_PAUSE * u32::from(dice) / 255
}
