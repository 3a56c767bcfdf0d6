use std::collections::BTreeMap;

use shipway_model::{ContainerId, Digest, EventKind, RootFs, Source};
use uuid::Uuid;

use super::*;
use crate::evidence::{Event, Instance, Release, Rows, Service, Task, World};
use crate::ledger::Asked;
use crate::load::deploy_of;
use crate::paper::{Entry, NONCE, Paper, State};
use crate::part::journal::{Left, Line};

const TASK: &str = "11111111-1111-4111-8111-111111111111";
const SERVICE: &str = "22222222-2222-4222-8222-222222222222";

fn container() -> ContainerId {
    ContainerId(Uuid::from_u128(7))
}

fn source() -> Source {
    let digest = Digest::from_sha256([1; 32]);
    Source { digest, size_bytes: 1, content_type: None, file_name: None, url: None }
}

fn step(change: &str, token: i64, attempt: u32) -> EventKind {
    EventKind::Task { change: change.to_owned(), token, attempt, note: None }
}

fn numbered(kinds: Vec<EventKind>) -> Vec<Event> {
    kinds.into_iter().zip(1..).map(|(kind, seq)| Event { seq, at: seq, kind }).collect()
}

fn change_done() -> EventKind {
    EventKind::ChangeDone { change: "deploy".to_owned() }
}

fn spec(nonce: &str) -> String {
    let program = serde_json::json!({"source": source(), "kind": "static", "runner": "native"});
    let mut spec = serde_json::json!({
        "root": RootFs::HostImage { digest: Digest::from_sha256([2; 32]) },
        "env": {NONCE: nonce}, "limits": {}, "health": {},
    });
    let more = program.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    spec.to_string()
}

fn release(number: i64, state: &str) -> Release {
    Release { service: SERVICE.to_owned(), number, state: state.to_owned(), spec: spec("n-1") }
}

fn task() -> Task {
    let payload = shipway_model::TaskPayload::Deploy(deploy_of(source(), "n-1", Vec::new()));
    Task {
        id: TASK.to_owned(),
        subject: SERVICE.to_owned(),
        project: "default".to_owned(),
        kind: "deploy".to_owned(),
        actor: "n-1".to_owned(),
        state: "done".to_owned(),
        outcome: Some(r#"{"outcome":"done","release":1,"changed":true}"#.to_owned()),
        payload: serde_json::to_string(&payload).unwrap(),
        attempt: 1,
        attempts_max: 10,
        lease_token: 5,
        given_up_at: None,
        created_at: 1,
        claimed_at: Some(2),
        ended_at: Some(3),
    }
}

fn paper() -> Paper {
    Paper {
        container: container(),
        service: SERVICE.to_owned(),
        release: "1".to_owned(),
        nonce: "n-1".to_owned(),
        state: State::Running,
        code: None,
        started_at: 1,
        ended_at: None,
    }
}

fn started() -> Entry {
    Entry { container: container(), started: true, nonce: "n-1".to_owned(), pid: 1 }
}

/// One deploy, killed once, done at the second attempt.
pub(crate) fn good() -> Evidence {
    let history = vec![
        step("queued", 0, 0),
        step("claimed", 3, 1),
        step("given_back", 3, 0),
        step("claimed", 5, 1),
        step("done", 5, 1),
    ];
    let timeline = vec![EventKind::ReleaseCreated { release: 1 }, EventKind::ReleaseLive { release: 1 }, change_done()];
    let (service, live) = (SERVICE.to_owned(), "live".to_owned());
    let rows = Rows {
        services: vec![Service {
            id: service.clone(),
            state: live.clone(),
            release: Some(1),
            wanted: "running".to_owned(),
        }],
        releases: vec![release(1, "live")],
        instances: vec![Instance { container: container().to_string(), service, release: 1, role: live }],
        tasks: vec![task()],
        events: BTreeMap::from([
            (format!("task/{TASK}"), numbered(history)),
            (format!("service/{SERVICE}"), numbered(timeline)),
        ]),
        ..Rows::default()
    };
    let left = |token, how: &str| Line::Left(Left { task: TASK.to_owned(), token, how: how.to_owned() });
    let asked = |nonce: &str, task: Option<&str>| Asked {
        nonce: nonce.to_owned(),
        kind: "deploy".to_owned(),
        poison: false,
        task: task.map(str::to_owned),
        build: None,
    };
    Evidence {
        asked: vec![asked("n-1", Some(TASK)), asked("n-2", None)],
        rows,
        journals: BTreeMap::from([
            ("w0".to_owned(), vec![left(3, "Lost"), Line::Stale(4)]),
            ("w1".to_owned(), vec![left(5, "Done")]),
        ]),
        worlds: vec![World { papers: vec![paper()], diary: vec![started()], ..World::default() }],
        blobs: BTreeMap::from([(source().digest.to_string(), true)]),
        blob_scraps: Vec::new(),
        kept: BTreeMap::new(),
    }
}

/// After `spoil`, exactly violations of `of` are found, and the first says `what`.
#[track_caller]
fn check(of: &str, what: &str, spoil: impl FnOnce(&mut Evidence)) {
    let mut evidence = good();
    spoil(&mut evidence);
    let found = all(&evidence);
    let of_it: Vec<&Violation> = found.iter().filter(|violation| violation.of == of).collect();
    assert!(of_it.iter().any(|violation| violation.what.contains(what)), "{found:#?}");
}

fn history(evidence: &mut Evidence) -> &mut Vec<Event> {
    evidence.rows.events.get_mut(&format!("task/{TASK}")).unwrap()
}

fn timeline(evidence: &mut Evidence, kinds: Vec<EventKind>) {
    evidence.rows.events.insert(format!("service/{SERVICE}"), numbered(kinds));
}

#[test]
fn where_all_is_well_nothing_is_found() {
    assert_eq!(all(&good()), []);
    assert_eq!(stale::rejected(&good()), 4);
}

#[test]
fn an_acknowledged_task_that_is_not_there_is_lost() {
    check("I1", "not there", |evidence| evidence.rows.tasks.clear());
}

#[test]
fn an_acknowledged_task_that_nobody_ends_is_lost() {
    check("I1", "nobody is left", |evidence| {
        (evidence.rows.tasks[0].state, evidence.rows.tasks[0].outcome) = ("queued".to_owned(), None);
    });
}

#[test]
fn a_failure_that_is_the_platforms_is_a_loss() {
    check("I1", "not the asker's fault", |evidence| {
        let failed = r#"{"outcome":"failed","code":"storage_unavailable","detail":"x","hint":null}"#;
        evidence.rows.tasks[0].outcome = Some(failed.to_owned());
    });
}

#[test]
fn a_task_that_became_another_is_a_loss() {
    check("I1", "it has become", |evidence| evidence.rows.tasks[0].kind = "stop".to_owned());
}

#[test]
fn a_task_that_nobody_asked_for_is_found() {
    check("I1", "twice or never", |evidence| {
        let other = Task { actor: "n-9".to_owned(), ..task() };
        evidence.rows.tasks.push(other);
    });
}

#[test]
fn a_request_that_became_two_tasks_is_found() {
    check("I1", "twice or never", |evidence| evidence.rows.tasks.push(task()));
}

#[test]
fn two_live_releases_of_one_deploy_are_found() {
    check("I2", "published as releases [1, 2]", |evidence| evidence.rows.releases.push(release(2, "retired")));
}

#[test]
fn two_live_releases_of_one_service_are_found() {
    check("I2", "live are [1, 2]", |evidence| evidence.rows.releases.push(release(2, "live")));
}

#[test]
fn a_deploy_that_finds_itself_live_was_published_by_halves() {
    check("I2", "published, and not ended", |evidence| {
        evidence.rows.tasks[0].outcome = Some(r#"{"outcome":"done","release":1,"changed":false}"#.to_owned());
    });
}

#[test]
fn a_deploy_that_is_done_without_its_release_is_found() {
    check("I2", "was never live", |evidence| evidence.rows.releases[0].state = "failed".to_owned());
}

#[test]
fn a_release_that_is_live_before_its_task_ends_is_found() {
    check("I2", "became live, and next came", |evidence| {
        let asked = EventKind::ChangeRequested { change: "stop".to_owned(), actor: "n-3".to_owned() };
        timeline(evidence, vec![EventKind::ReleaseLive { release: 1 }, asked, change_done()]);
    });
}

#[test]
fn a_stale_end_that_was_accepted_is_found() {
    check("I3", "under token 3", |evidence| {
        let left = Left { task: TASK.to_owned(), token: 3, how: "Done".to_owned() };
        evidence.journals.insert("w0".to_owned(), vec![Line::Left(left)]);
    });
}

#[test]
fn content_that_is_gone_or_damaged_is_found() {
    check("I4", "is gone", |evidence| evidence.blobs.clear());
    check("I4", "something else", |evidence| {
        evidence.blobs.insert(source().digest.to_string(), false);
    });
}

#[test]
fn too_many_attempts_are_found() {
    check("I5", "tried 11 times", |evidence| evidence.rows.tasks[0].attempt = 11);
}

#[test]
fn an_innocent_that_was_given_up_and_poison_that_was_not_are_found() {
    check("I5", "given up", |evidence| evidence.rows.tasks[0].given_up_at = Some(9));
    check("I5", "poison is done", |evidence| evidence.asked[0].poison = true);
}

#[test]
fn a_second_claim_without_a_give_back_is_found() {
    check("I6", "it went to claimed", |evidence| drop(history(evidence).remove(2)));
}

#[test]
fn two_ends_are_found() {
    check("I6", "it went to done", |evidence| {
        history(evidence).push(Event { seq: 6, at: 6, kind: step("done", 5, 1) });
    });
}

#[test]
fn an_end_under_another_token_is_found() {
    check("I6", "it went to done (token 3", |evidence| history(evidence)[4].kind = step("done", 3, 1));
}

#[test]
fn a_gap_in_a_history_or_a_timeline_is_found() {
    check("I6", "event 6 where 5", |evidence| history(evidence)[4].seq = 6);
    let subject = format!("service/{SERVICE}");
    check("I6", "event 4 where 3", |evidence| evidence.rows.events.get_mut(&subject).unwrap()[2].seq = 4);
}

#[test]
fn a_history_that_the_row_does_not_know_is_found() {
    check("I6", "its row says", |evidence| evidence.rows.tasks[0].lease_token = 3);
}

#[test]
fn a_token_that_was_minted_twice_is_found() {
    check("I6", "is also one of", |evidence| {
        let other = Task { id: SERVICE.to_owned(), actor: "system".to_owned(), ..task() };
        let same = history(evidence).clone();
        evidence.rows.events.insert(format!("task/{SERVICE}"), same);
        evidence.rows.tasks.push(other);
    });
}

#[test]
fn a_container_that_is_nobodys_is_found() {
    check("I7", "and nobody's", |evidence| {
        let stray = Paper { container: ContainerId(Uuid::from_u128(8)), ..paper() };
        evidence.worlds[0].papers.push(stray);
    });
}

#[test]
fn a_live_instance_that_does_not_run_is_found() {
    check("I7", "does not run", |evidence| evidence.worlds[0].papers[0].state = State::Exited);
}

#[test]
fn a_container_that_was_started_twice_is_found() {
    check("I7", "started 2 times", |evidence| evidence.worlds[0].diary.push(started()));
}

#[test]
fn a_row_that_is_left_over_is_found() {
    check("I7", "left draining", |evidence| evidence.rows.instances[0].role = "draining".to_owned());
    check("I7", "with [] running", |evidence| evidence.rows.instances.clear());
}

#[test]
fn what_was_left_unfinished_is_found() {
    check("I7", "was left unfinished", |evidence| evidence.worlds[0].scraps.push("x.1".to_owned()));
    check("I7", "unfinished content", |evidence| evidence.blob_scraps.push("1-2".to_owned()));
}

#[test]
fn a_deleted_service_that_becomes_live_is_found() {
    check("I9", "deleted, and then", |evidence| {
        timeline(evidence, vec![EventKind::Deleted, EventKind::ReleaseLive { release: 1 }, change_done()]);
    });
}
