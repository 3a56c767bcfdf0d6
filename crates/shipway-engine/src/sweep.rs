//! Cleaning up behind: cgroups, id ranges, directories.
//!
//! How a container ended is told first; what it leaves behind goes here, where
//! nobody waits for it. A cgroup can be busy for a moment after its last process,
//! so it is tried again; a slot is given back only once its cgroup is empty. The
//! queue is bounded, and starts wait for room in it: a host that cannot clean up as
//! fast as containers come and go slows down instead of filling up.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cgroups::{Cgroups, Pool};
use crate::outside::Outside;
use crate::slots::{Slot, Slots};

/// Jobs that may wait. Each stands for a few directories on the host.
const QUEUE: usize = 64;
/// Between two tries of what was busy.
const PAUSE: Duration = Duration::from_millis(5);
/// Tries before an operator hears of it (then it waits for the next start of the engine).
const TRIES_MAX: u32 = 2000;

/// Something to clean up.
#[derive(Debug)]
pub(crate) enum Job {
    /// A cgroup of a run that has ended, and its range of ids.
    Run {
        cgroup: String,
        /// The slot and its container, unless the container keeps it.
        slot: Option<(Slot, String)>,
    },
    /// The link of a run that has ended; before its range of ids is given back.
    Link(Slot),
    /// A directory, moved to the trash.
    Folder(PathBuf),
    /// The pool has been taken from.
    Refill,
    /// Everything before this has been dealt with.
    Done(tokio::sync::oneshot::Sender<()>),
}

/// What the sweeper cleans with.
#[derive(Debug)]
pub(crate) struct Broom {
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) outside: Arc<Outside>,
}

/// Starts the sweeper; it ends when the last sender is dropped and all is clean.
pub(crate) fn start(broom: Broom) -> (mpsc::Sender<Job>, JoinHandle<()>) {
    let (sender, jobs) = mpsc::channel(QUEUE);
    (sender, tokio::spawn(sweep(Arc::new(broom), jobs)))
}

async fn sweep(broom: Arc<Broom>, mut jobs: mpsc::Receiver<Job>) {
    let mut busy: VecDeque<(Job, u32)> = VecDeque::new();
    loop {
        let next = if busy.is_empty() {
            jobs.recv().await
        } else {
            // The busy ones first get a pause, unless there is other work.
            match tokio::time::timeout(PAUSE, jobs.recv()).await {
                Ok(job) => job,
                Err(_elapsed) => {
                    busy = again(&broom, busy).await;
                    continue;
                }
            }
        };
        match next {
            Some(Job::Done(told)) if busy.is_empty() => drop(told.send(())),
            Some(done @ Job::Done(_)) => busy.push_back((done, 0)),
            Some(job) => busy.extend(run(&broom, job).await.map(|job| (job, 1))),
            None if busy.is_empty() => return,
            None => {
                tokio::time::sleep(PAUSE).await;
                busy = again(&broom, busy).await;
            }
        }
    }
}

/// Tries all that was busy once more.
async fn again(broom: &Arc<Broom>, busy: VecDeque<(Job, u32)>) -> VecDeque<(Job, u32)> {
    let mut left = VecDeque::new();
    for (job, tries) in busy {
        match job {
            Job::Done(told) if left.is_empty() => drop(told.send(())),
            Job::Done(_) => left.push_back((job, tries)),
            Job::Run { ref cgroup, .. } if tries >= TRIES_MAX => {
                tracing::error!(cgroup, "cannot be removed; left to the next start of the engine");
            }
            job => left.extend(run(broom, job).await.map(|job| (job, tries + 1))),
        }
    }
    left
}

/// Does a job where blocking hurts nobody; returns it when it must be tried again.
async fn run(broom: &Arc<Broom>, job: Job) -> Option<Job> {
    let broom = Arc::clone(broom);
    tokio::task::spawn_blocking(move || broom.run(job)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "cleaning up failed");
        None
    })
}

impl Broom {
    fn run(&self, job: Job) -> Option<Job> {
        match job {
            Job::Run { cgroup, slot } => {
                if let Err(error) = self.cgroups.remove(&cgroup) {
                    tracing::debug!(cgroup, %error, "not removed yet");
                    // Whatever is still in there has no business to be.
                    self.cgroups.kill(&cgroup);
                    return Some(Job::Run { cgroup, slot });
                }
                if let Some((slot, container)) = slot
                    && let Err(error) = self.slots.give_back(slot, &container)
                {
                    tracing::warn!(container, %error, "id range not given back");
                }
            }
            Job::Link(slot) => self.outside.detach(slot),
            Job::Folder(path) => {
                if let Err(error) = fs::remove_dir_all(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "not removed");
                }
            }
            Job::Refill => {
                if let Err(error) = self.pool.refill(&self.cgroups) {
                    tracing::warn!(%error, "no cgroups made ahead");
                }
            }
            Job::Done(told) => drop(told.send(())),
        }
        None
    }
}
