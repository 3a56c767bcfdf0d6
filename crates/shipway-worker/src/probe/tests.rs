//! The probe against real sockets that say all kinds of things.

use std::path::Path;

use shipway_driver::fake::{Answers, FakeDriver};
use shipway_driver::{Exit, Ingress, Program, Workload};
use shipway_model::{ContentKind, Digest, Limits, Runner};
use uuid::Uuid;

use super::*;

#[test]
fn only_a_status_line_is_an_answer() {
    let cases: [(&[u8], Option<u16>); 10] = [
        (b"HTTP/1.1 204 No Content\r\n", Some(204)),
        (b"HTTP/1.0 200\r\n", Some(200)),
        (b"HTTP/1.1 302 \r\n", Some(302)),
        (b"", None),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 2004 No\r\n", None),
        (b"HTTP/2 204\r\n", None),
        (b"HTTP/1.1 +04 x\r\n", None),
        (b"HTTP/1.1204 x\r\n", None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
    ];
    for (head, status) in cases {
        let text = String::from_utf8_lossy(head);
        assert_eq!(status_of(head), status, "{text:?}");
    }
}

/// A running container that answers so, and what the probe makes of it.
async fn probe(answers: Answers, path: Option<&str>) -> Result<(), String> {
    let driver = FakeDriver::new();
    driver.answer_new(answers);
    probe_on(&driver, path, |_| {}).await
}

async fn probe_on(
    driver: &FakeDriver,
    path: Option<&str>,
    meanwhile: impl FnOnce(ContainerId),
) -> Result<(), String> {
    let container = ContainerId(Uuid::new_v4());
    let workload = Workload {
        container,
        root: driver.current_root().await.unwrap(),
        program: Program::Runner {
            runner: Runner::Native,
            kind: ContentKind::Static,
            digest: Digest::from_sha256([1; 32]),
            content_type: None,
            file_name: None,
        },
        env: std::collections::BTreeMap::new(),
        limits: Limits::default(),
        ingress: Ingress::Listener,
        labels: std::collections::BTreeMap::new(),
    };
    let started = driver.start(&workload, Some(Path::new("/x"))).await;
    let endpoint = started.unwrap().endpoint.unwrap();
    meanwhile(container);
    let subject = Subject {
        service: ServiceId(Uuid::nil()),
        container,
        endpoint: &endpoint,
        health: &HealthCheck {
            path: path.map(str::to_owned),
            deadline_ms: 150,
        },
    };
    let ready = until_ready(driver, &subject).await;
    ready.map_err(|NotReady(saw)| saw)
}

#[tokio::test]
async fn a_runner_that_says_204_is_ready() {
    assert_eq!(probe(Answers::Ready, None).await, Ok(()));
}

#[tokio::test]
async fn a_health_path_is_ready_with_any_good_status() {
    for status in [200, 204, 302] {
        let answers = Answers::Status(status, String::new());
        assert_eq!(probe(answers, Some("/healthz?deep=1")).await, Ok(()));
    }
}

#[tokio::test]
async fn what_was_seen_is_said() {
    let status = |code| Answers::Status(code, "boom".to_owned());
    let cases = [
        (status(200), None, "probe of the runner saw status 200"),
        (status(500), Some("/up"), "probe of /up saw status 500"),
        (Answers::Silent, None, "no answer within"),
        (Answers::HangUp, None, "saw an answer that is no HTTP"),
        (Answers::Ready, Some("up"), "\"up\" is not a path"),
        (Answers::Ready, Some("/ x\r\nhost: y"), "is not a path"),
    ];
    for (answers, path, words) in cases {
        let saw = probe(answers.clone(), path).await.unwrap_err();
        assert!(saw.contains(words), "{answers:?}: {saw}");
    }
}

#[tokio::test]
async fn a_dead_container_is_not_asked_any_longer() {
    let driver = FakeDriver::new();
    driver.answer_new(Answers::Silent);
    let exit = Exit {
        code: Some(3),
        signal: None,
        out_of_memory: false,
        lost: false,
        ended_at: None,
    };
    let saw = probe_on(&driver, None, |container| {
        assert!(driver.exit(container, exit));
    });
    assert_eq!(
        saw.await.unwrap_err(),
        "its container ended before it was ready: exit status 3"
    );
}
