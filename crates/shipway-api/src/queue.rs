//! Tasks and workers as the API shows them.

use shipway_api_types as api;
use shipway_api_types::{TaskFailure, TaskState, WorkerState};
use shipway_model::{EventKind, Micros, Outcome, Waiting};
use shipway_stdx::clock::rfc3339;
use shipway_store::{QueuePage, Stage, TaskRecord, WaitTerms};

use crate::config::ApiConfig;

/// What is configured and matters for who gets what.
pub(crate) const fn terms(config: &ApiConfig) -> WaitTerms {
    WaitTerms { project_max: config.project_max, silent_after: config.silent_after }
}

/// A task of a page, with what is in its way.
pub(crate) fn task(page: &QueuePage, task: &TaskRecord, terms: WaitTerms) -> api::Task {
    let ended = |outcome: &Outcome| match outcome {
        Outcome::Done { .. } => None,
        Outcome::Failed(failure) => {
            Some(TaskFailure { code: failure.code.word().to_owned(), detail: failure.detail.clone() })
        }
    };
    api::Task {
        id: task.id.to_string(),
        project: task.project.to_string(),
        service: task.subject.clone(),
        service_name: task.service.clone(),
        kind: task.kind.clone(),
        state: state(task.stage),
        actor: task.actor.clone(),
        attempts: task.attempts,
        attempts_max: task.attempts_max,
        given_back: task.released,
        worker: task.worker.clone(),
        engine: task.engine.clone(),
        labels: task.labels.iter().cloned().collect(),
        created_at: rfc3339(task.created_at),
        due_at: (task.stage == Stage::Queued).then(|| rfc3339(task.not_before)),
        claimed_at: task.claimed_at.map(rfc3339),
        lease_until: task.lease_until.map(rfc3339),
        ended_at: task.ended_at.map(rfc3339),
        failure: task.outcome.as_ref().and_then(ended),
        waiting: page.why(task, terms).iter().map(waiting).collect(),
    }
}

const fn state(stage: Stage) -> TaskState {
    match stage {
        Stage::Queued => TaskState::Queued,
        Stage::Running => TaskState::Running,
        Stage::Done => TaskState::Done,
        Stage::Failed => TaskState::Failed,
        Stage::GivenUp => TaskState::GivenUp,
    }
}

/// What is in the way, in a sentence.
fn waiting(waiting: &Waiting) -> api::Waiting {
    let plain = |reason: &str, detail: String| api::Waiting {
        reason: reason.to_owned(),
        detail,
        until: None,
        task: None,
        workers: Vec::new(),
    };
    match waiting {
        Waiting::NotDue { until } => {
            let until = rfc3339(*until);
            api::Waiting { until: Some(until.clone()), ..plain("not_due", format!("not due until {until}")) }
        }
        Waiting::Behind(ahead) => {
            let how = if ahead.running { "is at work" } else { "goes first" };
            let detail = format!("a {} of the same service {how}: task {}", ahead.kind, ahead.task);
            api::Waiting { task: Some(ahead.task.to_string()), ..plain("behind", detail) }
        }
        Waiting::NoWorkers => plain("no_workers", "no worker has registered".to_owned()),
        Waiting::NoEngine { engine } => {
            plain("no_engine", format!("its service lives in engine {engine}, and no worker has that engine"))
        }
        Waiting::NoLabels { labels } => {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            plain("no_labels", format!("no worker has all the labels it needs: {}", labels.join(", ")))
        }
        Waiting::Unavailable { engine, workers } => {
            let each: Vec<String> = workers.iter().map(away).collect();
            let whose = match engine {
                Some(engine) => format!("its service lives in engine {engine}, and "),
                None => "of those who could take it, ".to_owned(),
            };
            let workers = workers.iter().map(|away| away.worker.clone()).collect();
            api::Waiting { workers, ..plain("unavailable", format!("{whose}{}", each.join(", "))) }
        }
        Waiting::ProjectFull { most } => {
            plain("project_full", format!("its project has {most} tasks at work, as many as it may"))
        }
        Waiting::AllBusy { workers: 1 } => plain("all_busy", "the worker that could take it is busy".to_owned()),
        Waiting::AllBusy { workers } => plain("all_busy", format!("all {workers} workers that could take it are busy")),
    }
}

fn away(away: &shipway_model::waiting::Away) -> String {
    match away.why.as_str() {
        "silent" => format!("worker {} has been silent for {} s", away.worker, away.silent_for / 1_000_000),
        state => format!("worker {} is {state}", away.worker),
    }
}

/// A step of a task's history; `None` for what is no such step.
pub(crate) fn step(event: &shipway_model::Event) -> Option<api::TaskStep> {
    let EventKind::Task { change, token, attempt, note } = &event.kind else { return None };
    Some(api::TaskStep {
        at: rfc3339(event.at),
        change: change.clone(),
        attempt: *attempt,
        lease: *token,
        note: note.clone(),
    })
}

/// A worker.
pub(crate) fn worker(worker: &shipway_store::Worker, terms: WaitTerms) -> api::Worker {
    let limit = Micros::try_from(terms.silent_after.as_micros()).unwrap_or(Micros::MAX);
    api::Worker {
        id: worker.facts.id.clone(),
        state: match worker.state {
            shipway_store::WorkerState::Active => WorkerState::Active,
            shipway_store::WorkerState::Cordoned => WorkerState::Cordoned,
            shipway_store::WorkerState::Draining => WorkerState::Draining,
            shipway_store::WorkerState::Leaving => WorkerState::Leaving,
        },
        host: worker.facts.host.clone(),
        engine: worker.facts.engine.clone(),
        version: worker.facts.version.clone(),
        labels: worker.facts.labels.iter().cloned().collect(),
        capacity: worker.facts.capacity,
        running: worker.running,
        started_at: rfc3339(worker.started_at),
        silent_for_ms: u64::try_from(worker.silent_for / 1000).unwrap_or(0),
        silent: worker.silent_for > limit,
    }
}

#[cfg(test)]
mod tests {
    use shipway_model::TaskId;
    use shipway_model::waiting::{Ahead, Away};

    use super::*;

    #[track_caller]
    fn check(given: &Waiting, expected: &str) {
        let shown = waiting(given);
        assert_eq!(format!("{}: {}", shown.reason, shown.detail), expected);
    }

    #[test]
    fn what_is_in_the_way_is_told_in_a_sentence() {
        let away =
            |worker: &str, why: &str| Away { worker: worker.to_owned(), why: why.to_owned(), silent_for: 42_000_000 };
        let e1 = || "e1".to_owned();
        check(&Waiting::NotDue { until: 0 }, "not_due: not due until 1970-01-01T00:00:00.000000Z");
        let ahead = Ahead { task: TaskId(uuid::Uuid::nil()), kind: "deploy".to_owned(), running: true };
        check(
            &Waiting::Behind(ahead),
            "behind: a deploy of the same service is at work: task 00000000-0000-0000-0000-000000000000",
        );
        check(&Waiting::NoWorkers, "no_workers: no worker has registered");
        check(
            &Waiting::NoEngine { engine: e1() },
            "no_engine: its service lives in engine e1, and no worker has that engine",
        );
        check(
            &Waiting::NoLabels { labels: ["gpu".to_owned(), "ssd".to_owned()].into() },
            "no_labels: no worker has all the labels it needs: gpu, ssd",
        );
        check(
            &Waiting::Unavailable { engine: Some(e1()), workers: vec![away("w1", "silent")] },
            "unavailable: its service lives in engine e1, and worker w1 has been silent for 42 s",
        );
        check(
            &Waiting::Unavailable { engine: None, workers: vec![away("w1", "cordoned"), away("w2", "draining")] },
            "unavailable: of those who could take it, worker w1 is cordoned, worker w2 is draining",
        );
        check(&Waiting::ProjectFull { most: 3 }, "project_full: its project has 3 tasks at work, as many as it may");
        check(&Waiting::AllBusy { workers: 1 }, "all_busy: the worker that could take it is busy");
        check(&Waiting::AllBusy { workers: 2 }, "all_busy: all 2 workers that could take it are busy");
    }
}
