//! Start, end, stop, remove, recover: the life of a container.

use std::time::Duration;

use shipway_model::ContainerId;
use uuid::Uuid;

use super::{Candidate, Script, within};
use crate::{DriverError, ExecSpec, LogQuery, Phase};

/// A second start of one id is the first one's container, running or ended.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn start_can_be_repeated(candidate: &Candidate) {
    let driver = &candidate.driver;
    let workload = candidate.workload(&Script::Stay).await;
    let first = driver.start(&workload, None).await.expect("it starts");
    let again = driver.start(&workload, None).await.expect("it is there");
    assert_eq!(first, again, "one id, one container");
    let seen = driver.inspect(workload.container).await.expect("it exists");
    assert_eq!(seen.phase, Phase::Running);
    assert_eq!(seen.labels, workload.labels);
    assert_eq!(seen.started_at, Some(first.started_at));
    assert_eq!(first.endpoint, None, "no ingress was asked for");
    candidate.clear(workload.container).await;
}

/// The exit status comes through, and stays known until the container is removed.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn exit_statuses_are_told(candidate: &Candidate) {
    for code in [0, 1, 42, 255] {
        let container = candidate.start(&Script::Exit(code)).await;
        let exit = candidate.ended(container).await;
        assert_eq!((exit.code, exit.signal, exit.lost), (Some(code), None, false));
        assert!(exit.ended_at.is_some(), "the time of the end is known");
        assert_eq!(candidate.ended(container).await, exit, "waiting again");
        let seen = candidate.driver.inspect(container).await.expect("known");
        assert_eq!(seen.phase, Phase::Exited(exit));
        candidate.clear(container).await;
    }
}

/// SIGTERM comes first, and a program that obeys says how it ended.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn stop_asks_first(candidate: &Candidate) {
    let container = candidate.start(&Script::Stay).await;
    super::logs::first_line(candidate, container).await;
    let exit =
        within(candidate.driver.stop(container, Duration::from_secs(20))).await.expect("a running container stops");
    assert_eq!((exit.code, exit.signal), (Some(143), None));
    let again = candidate.driver.stop(container, Duration::ZERO).await;
    assert_eq!(again.expect("stopping twice is fine"), exit);
    candidate.clear(container).await;
}

/// One that ignores SIGTERM is killed when the grace is over.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn stop_kills_the_stubborn(candidate: &Candidate) {
    let container = candidate.start(&Script::Stubborn).await;
    super::logs::first_line(candidate, container).await;
    let exit =
        within(candidate.driver.stop(container, Duration::from_millis(200))).await.expect("nothing survives a stop");
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    candidate.clear(container).await;
}

/// Removing twice, and what never was, is fine; removing what runs is not.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn remove_can_be_repeated(candidate: &Candidate) {
    let driver = &candidate.driver;
    let container = candidate.start(&Script::Stay).await;
    let refused = driver.remove(container).await;
    assert!(matches!(refused, Err(DriverError::Invalid(_))), "{refused:?}");
    candidate.clear(container).await;
    driver.remove(container).await.expect("gone is gone");
    let seen = driver.inspect(container).await;
    assert!(matches!(seen, Err(DriverError::Unknown(id)) if id == container));
}

/// Recover lists running and ended ones, and nothing that was removed.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn recover_lists_what_there_is(candidate: &Candidate) {
    let runs = candidate.start(&Script::Stay).await;
    let ended = candidate.start(&Script::Exit(3)).await;
    let removed = candidate.start(&Script::Exit(0)).await;
    let exit = candidate.ended(ended).await;
    candidate.clear(removed).await;
    let all = candidate.driver.recover().await.expect("it can be asked");
    let phase = |id: ContainerId| all.iter().find(|seen| seen.container == id).map(|seen| seen.phase);
    assert_eq!(phase(runs), Some(Phase::Running));
    assert_eq!(phase(ended), Some(Phase::Exited(exit)));
    assert_eq!(phase(removed), None);
    candidate.clear(runs).await;
    candidate.clear(ended).await;
}

/// Every question about an id that never was is answered by saying so.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn unknown_ids_are_said_to_be(candidate: &Candidate) {
    let driver = &candidate.driver;
    let nobody = ContainerId(Uuid::new_v4());
    let exec = ExecSpec { argv: Script::Exit(0).argv(), env: Vec::new(), terminal: None };
    let answers = [
        driver.inspect(nobody).await.err(),
        driver.wait(nobody).await.err(),
        driver.stop(nobody, Duration::ZERO).await.err(),
        driver.stats(nobody).await.err(),
        driver.endpoint(nobody).await.err(),
        driver.exec(nobody, exec).await.err(),
        driver.logs(nobody, LogQuery::default()).await.err(),
    ];
    for answer in answers {
        assert!(matches!(answer, Some(DriverError::Unknown(id)) if id == nobody), "{answer:?}");
    }
}

/// Stats carry the limits the container was started with, and what it uses.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn stats_show_the_limits(candidate: &Candidate) {
    let workload = candidate.workload(&Script::Stay).await;
    let container = workload.container;
    candidate.driver.start(&workload, None).await.expect("it starts");
    super::logs::first_line(candidate, container).await;
    let stats = candidate.driver.stats(container).await.expect("it runs");
    assert_eq!(stats.memory_limit_bytes, workload.limits.memory_bytes);
    assert_eq!(stats.pids_limit, u64::from(workload.limits.pids));
    assert!(stats.pids >= 1, "{stats:?}");
    assert!(stats.memory_bytes > 0, "{stats:?}");
    assert!(stats.memory_peak_bytes >= stats.memory_bytes / 2, "{stats:?}");
    assert!(stats.cpu_usec > 0, "{stats:?}");
    candidate.clear(container).await;
}
