//! The fake driver takes the same exam as the real ones, and shows its knobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipway_driver::conformance::{self, Candidate, Script};
use shipway_driver::fake::{Answers, FakeDriver, StartFailure};
use shipway_driver::{Driver, DriverError, Exit, Ingress, Phase, Workload};
use shipway_model::instance::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const PROBE: &str = "OPTIONS * HTTP/1.1\r\nhost: x\r\nshipway-probe: ready\r\n\r\n";

async fn with_ingress(driver: &FakeDriver) -> Workload {
    let candidate = Candidate::new(Arc::new(driver.clone()));
    Workload { ingress: Ingress::Listener, labels: BTreeMap::new(), ..candidate.workload(&Script::Stay).await }
}

async fn ask(endpoint: Option<Endpoint>) -> std::io::Result<String> {
    let Some(Endpoint::Unix { path }) = endpoint else {
        panic!("the fake serves unix sockets, not {endpoint:?}");
    };
    let mut connection = UnixStream::connect(path).await?;
    connection.write_all(PROBE.as_bytes()).await?;
    let mut answer = vec![0; 1024];
    let read = connection.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_fake_passes_the_exam() {
    conformance::run_all(&Candidate::new(Arc::new(FakeDriver::new()))).await;
}

#[tokio::test]
async fn its_endpoints_answer_as_told() {
    let driver = FakeDriver::new();
    let workload = with_ingress(&driver).await;
    let started = driver.start(&workload, None).await.unwrap();
    let answer = ask(started.endpoint.clone()).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 204 No Content");
    driver.answer(workload.container, Answers::Status(503, "no".to_owned()));
    let answer = ask(started.endpoint.clone()).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 503 Fake");
    driver.answer(workload.container, Answers::HangUp);
    assert_eq!(ask(started.endpoint).await.unwrap(), "");
}

#[tokio::test]
async fn starts_fail_as_often_as_told() {
    let driver = FakeDriver::new();
    let workload = with_ingress(&driver).await;
    driver.fail_starts(1, StartFailure::Unavailable("no room".to_owned()));
    let refused = driver.start(&workload, None).await;
    assert!(matches!(refused, Err(DriverError::Unavailable { what, .. }) if what == "no room"));
    driver.start(&workload, None).await.unwrap();
    assert_eq!((driver.made(), driver.running()), (1, vec![workload.container]));
}

#[tokio::test]
async fn a_crash_is_seen_by_every_clone() {
    let driver = FakeDriver::new();
    let workload = with_ingress(&driver).await;
    let started = driver.start(&workload, None).await.unwrap();
    let other = driver.clone();
    let exit = Exit { code: Some(1), signal: None, out_of_memory: false, lost: false, ended_at: None };
    assert!(driver.exit(workload.container, exit));
    assert!(!driver.exit(workload.container, exit), "only once");
    assert_eq!(other.wait(workload.container).await.unwrap(), exit);
    assert_eq!(other.recover().await.unwrap()[0].phase, Phase::Exited(exit));
    refuses_visitors(started.endpoint).await;
}

/// The socket of an ended container takes no visitors.
async fn refuses_visitors(endpoint: Option<Endpoint>) {
    for _ in 0..1000 {
        if ask(endpoint.clone()).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("an ended container still answers");
}
