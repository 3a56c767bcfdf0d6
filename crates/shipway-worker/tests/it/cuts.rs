//! Workers that die. Every change is cut short at every point where it waits, and
//! at every call of the driver, before and after; the next worker makes it whole.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use shipway_driver::fake::FakeDriver;
use shipway_driver::{
    Driver, DriverError, ExecSession, ExecSpec, Exit, LogLine, LogQuery, Seen, Started, Stats, Workload,
};
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, Outcome, RootFs, TaskPayload};

use crate::platform::{Platform, done};

/// No change here waits or calls as often; the loops below end long before.
const POINTS_MAX: usize = 500;

/// Polls `work` at most `polls` times, then drops it where it stands.
async fn cut<F: Future>(work: F, polls: usize) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// A driver whose worker dies at its `n`th call, before or after it took effect.
#[derive(Debug)]
struct Deadly {
    world: FakeDriver,
    left: AtomicUsize,
    after: bool,
    died: Arc<tokio::sync::Notify>,
}

impl Deadly {
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let dies = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if dies && !self.after {
            self.die().await;
        }
        let result = call.await;
        if dies {
            self.die().await;
        }
        result
    }

    async fn die(&self) {
        self.died.notify_one();
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Driver for Deadly {
    fn name(&self) -> &'static str {
        "deadly"
    }
    async fn current_root(&self) -> Result<RootFs, DriverError> {
        self.call(self.world.current_root()).await
    }
    async fn start(&self, w: &Workload, c: Option<&Path>) -> Result<Started, DriverError> {
        self.call(self.world.start(w, c)).await
    }
    async fn stop(&self, c: ContainerId, grace: Duration) -> Result<Exit, DriverError> {
        self.call(self.world.stop(c, grace)).await
    }
    async fn wait(&self, c: ContainerId) -> Result<Exit, DriverError> {
        self.world.wait(c).await
    }
    async fn inspect(&self, c: ContainerId) -> Result<Seen, DriverError> {
        self.call(self.world.inspect(c)).await
    }
    async fn recover(&self) -> Result<Vec<Seen>, DriverError> {
        self.call(self.world.recover()).await
    }
    async fn endpoint(&self, c: ContainerId) -> Result<Endpoint, DriverError> {
        self.call(self.world.endpoint(c)).await
    }
    async fn remove(&self, c: ContainerId) -> Result<(), DriverError> {
        self.call(self.world.remove(c)).await
    }
    async fn logs(
        &self,
        c: ContainerId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, DriverError>>, DriverError> {
        self.call(self.world.logs(c, query)).await
    }
    async fn stats(&self, c: ContainerId) -> Result<Stats, DriverError> {
        self.world.stats(c).await
    }
    async fn exec(&self, c: ContainerId, spec: ExecSpec) -> Result<ExecSession, DriverError> {
        self.world.exec(c, spec).await
    }
}

/// A change to cut, what brings the service to where it begins, and its outcome.
struct Story {
    before: &'static [&'static str],
    change: fn(shipway_model::task::Deploy) -> TaskPayload,
    expected: Outcome,
    state: Option<&'static str>,
}

fn stories() -> Vec<Story> {
    vec![
        Story { before: &[], change: TaskPayload::Deploy, expected: done(Some(1), true), state: Some("live 1") },
        Story {
            before: &["deploy"],
            change: TaskPayload::Deploy,
            expected: done(Some(2), true),
            state: Some("live 2"),
        },
        Story {
            before: &["deploy", "deploy again"],
            change: |_| TaskPayload::Rollback { release: 1 },
            expected: done(Some(1), true),
            state: Some("live 1"),
        },
        Story {
            before: &["deploy", "stop"],
            change: |_| TaskPayload::Start,
            expected: done(Some(1), true),
            state: Some("live 1"),
        },
        Story {
            before: &["deploy"],
            change: |_| TaskPayload::Restart,
            expected: done(Some(1), true),
            state: Some("live 1"),
        },
        Story {
            before: &["deploy"],
            change: |_| TaskPayload::Stop,
            expected: done(None, true),
            state: Some("stopped 1"),
        },
        Story { before: &["deploy"], change: |_| TaskPayload::Delete, expected: done(None, true), state: None },
    ]
}

impl Story {
    /// Brings a new service to where the story begins and asks for the change.
    async fn begin(&self, platform: &Platform, name: &str) -> shipway_model::TaskId {
        for step in self.before {
            if *step == "stop" {
                platform.change(name, TaskPayload::Stop).await;
            } else {
                platform.live(name, step).await;
            }
        }
        platform.settle().await;
        let wish = platform.upload("the change").await;
        platform.request(name, (self.change)(wish)).await.1
    }

    /// After the crash: a new worker makes it as if nothing had happened.
    async fn end(&self, platform: &mut Platform, name: &str, task: shipway_model::TaskId) {
        platform.check(platform.stray().await);
        platform.restart().await;
        platform.settle().await;
        platform
            .work_until("ended", || async {
                let task = platform.store.find_task(task).await.unwrap().unwrap();
                matches!(task.state, shipway_model::TaskState::Ended(_))
            })
            .await;
        platform.settle().await;
        match (platform.outcome(task).await, &self.expected) {
            // Cut after its effect and before its end, a stop finds it done.
            (Outcome::Done { release, .. }, Outcome::Done { release: wanted, .. }) => {
                assert_eq!(release, *wanted);
            }
            other => panic!("{other:?}"),
        }
        match self.state {
            Some(state) => assert_eq!(platform.state(name).await, state),
            None => assert_eq!(platform.find(name).await, None),
        }
    }
}

#[tokio::test]
async fn every_change_survives_a_cut_at_every_await() {
    for story in stories() {
        let mut platform = Platform::new().await;
        let mut whole = false;
        for polls in 1..POINTS_MAX {
            let name = format!("s{polls}");
            let task = story.begin(&platform, &name).await;
            whole = cut(Box::pin(platform.worker.tick()), polls).await.is_some();
            story.end(&mut platform, &name, task).await;
            if whole {
                break;
            }
            // One service at a time, or settling would look at all of them.
            if story.state.is_some() {
                platform.change(&name, TaskPayload::Delete).await;
            }
        }
        assert!(whole, "the loop ended before the change did");
    }
}

#[tokio::test]
async fn every_change_survives_a_death_at_every_call_of_the_driver() {
    for story in stories() {
        let mut platform = Platform::new().await;
        for after in [false, true] {
            let mut whole = false;
            for calls in 1..POINTS_MAX {
                let name = format!("s{calls}-{after}");
                let task = story.begin(&platform, &name).await;
                let died = Arc::new(tokio::sync::Notify::new());
                let worker = platform.another_worker(Arc::new(Deadly {
                    world: platform.driver.clone(),
                    left: AtomicUsize::new(calls),
                    after,
                    died: died.clone(),
                }));
                whole = tokio::select! {
                    biased;
                    () = died.notified() => false,
                    ticked = worker.tick() => ticked.unwrap(),
                };
                drop(worker);
                story.end(&mut platform, &name, task).await;
                if whole {
                    break;
                }
            }
            assert!(whole, "the loop ended before the change did");
        }
    }
}

#[tokio::test]
async fn a_worker_killed_between_publish_and_drain_leaves_nothing() {
    let mut platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    platform.visitors.are_busy(true);
    let old = platform.container(service).await.unwrap();
    platform.live("a", "echo 2").await;
    platform.restart().await;
    platform.work().await;
    assert!(platform.driver.running().contains(&old));
    platform.visitors.are_busy(false);
    platform.settle().await;
    assert!(platform.is_gone(old).await);
}

#[tokio::test]
async fn a_container_without_a_row_is_removed_at_the_start() {
    let mut platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let live = platform.container(service).await.unwrap();
    let mut workload = platform.driver.workload(live).unwrap();
    workload.container = ContainerId(uuid::Uuid::new_v4());
    let content = Path::new("/dev/null");
    platform.driver.start(&workload, Some(content)).await.unwrap();
    platform.restart().await;
    assert_eq!(platform.driver.running(), [live]);
}
