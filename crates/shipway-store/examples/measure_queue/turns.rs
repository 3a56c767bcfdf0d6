//! Claim and fenced finish, as fast as it goes, and what that sends to the database.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shipway_model::Outcome;
use shipway_store::{LeaseTerms, Store, StoreError, statements_of};

use crate::{claimant, open};

/// The product's own.
const TERMS: LeaseTerms = LeaseTerms { heartbeat: Duration::from_secs(20), deadline: Duration::from_secs(900) };

const DONE: Outcome = Outcome::Done { release: None, changed: true };

/// Returns whether there was a task.
async fn turn(store: &Store, worker: &str) -> Result<bool, StoreError> {
    let Some(lease) = store.claim(&claimant(worker), TERMS).await? else { return Ok(false) };
    store.finish(&lease, &DONE).await?;
    Ok(true)
}

/// What one turn sends, after one that has taken the store out of its sleep. Beside the
/// statements, what of their values is the task's own.
pub(crate) async fn statements(place: &str) -> io::Result<Value> {
    let store = open(place).await?;
    turn(&store, "warm-up").await.map_err(io::Error::other)?;
    let (lease, claim) = statements_of(store.claim(&claimant("worker"), TERMS)).await;
    let lease = lease.map_err(io::Error::other)?.ok_or_else(|| io::Error::other("the queue is empty"))?;
    let (finished, finish) = statements_of(store.finish(&lease, &DONE)).await;
    finished.map_err(io::Error::other)?;
    let task = &lease.task;
    Ok(json!({ "claim": claim, "finish": finish, "settings": store.session_settings(),
        "id": task.id, "subject": task.subject.to_string(), "project": task.project, "token": lease.token }))
}

/// So many loops, each a task of its own on one store, until the time is over or the queue
/// is empty.
pub(crate) async fn turns(place: &str, loops: u64, seconds: u64) -> io::Result<Value> {
    let store = open(place).await?;
    turn(&store, "warm-up").await.map_err(io::Error::other)?;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let running: Vec<_> = (0..loops)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let (worker, mut done) = (format!("worker-{n}"), 0_u64);
                while Instant::now() < until && turn(&store, &worker).await? {
                    done += 1;
                }
                Ok::<u64, StoreError>(done)
            })
        })
        .collect();
    let mut done = 0;
    for one in running {
        done += one.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    Ok(json!({ "turns": done, "seconds": begun.elapsed().as_secs_f64() }))
}
