//! URL services as the worker runs them: a runner, content, a socket.

use std::collections::BTreeMap;
use std::time::Duration;

use shipway_driver::{Driver, DriverError, Ingress, Phase, Program, Workload};
use shipway_driver_embedded::EmbeddedDriver;
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, ContentKind, Digest, Limits, RootFs, Runner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::world::World;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn workload(driver: &EmbeddedDriver, kind: ContentKind) -> Workload {
    Workload {
        container: ContainerId(uuid::Uuid::new_v4()),
        root: driver.current_root().await.unwrap(),
        program: Program::Runner {
            runner: Runner::Native,
            kind,
            digest: Digest::from_sha256([1; 32]),
            content_type: Some("text/plain".to_owned()),
            file_name: None,
        },
        env: BTreeMap::from([("GREETING".to_owned(), "good day".to_owned())]),
        limits: Limits::default(),
        ingress: Ingress::Listener,
        egress: shipway_model::Egress::None,
        labels: BTreeMap::from([("service".to_owned(), "hello".to_owned())]),
    }
}

/// One request, one whole answer.
pub(crate) async fn ask(endpoint: &Endpoint, request: &str) -> String {
    exchange(endpoint, &format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nshipway-probe: ready\r\n\r\n"))
        .await
}

/// The same with a body.
pub(crate) async fn post(endpoint: &Endpoint, body: &str) -> String {
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    exchange(endpoint, &format!("{head}{body}")).await
}

async fn exchange(endpoint: &Endpoint, text: &str) -> String {
    let Endpoint::Unix { path } = endpoint else {
        panic!("a runner answers on a unix socket, not {endpoint:?}");
    };
    let talk = async {
        let mut connection = UnixStream::connect(path).await.unwrap();
        connection.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("it answers")
}

pub(crate) async fn clear(driver: &EmbeddedDriver, container: ContainerId) {
    driver.stop(container, Duration::from_secs(5)).await.unwrap();
    driver.remove(container).await.unwrap();
}

#[tokio::test]
async fn a_static_file_and_a_script_are_served() {
    let world = World::new();
    let driver = world.open().await;
    let page = world.content("page", "a page\n");
    let workload_of_page = workload(&driver, ContentKind::Static).await;
    let started = driver.start(&workload_of_page, Some(&page)).await.unwrap();
    let endpoint = started.endpoint.unwrap();
    let probe = ask(&endpoint, "OPTIONS *").await;
    assert!(probe.starts_with("HTTP/1.1 204"), "{probe}");
    let answer = ask(&endpoint, "GET /").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("a page\n"), "{answer}");
    assert_eq!(driver.endpoint(workload_of_page.container).await.unwrap(), endpoint);

    let script = world.content("script", "#!/bin/sh\necho $GREETING; id -u; echo to the log >&2\n");
    let workload_of_script = workload(&driver, ContentKind::Script).await;
    let started = driver.start(&workload_of_script, Some(&script)).await.unwrap();
    let answer = ask(&started.endpoint.unwrap(), "GET /").await;
    assert!(answer.contains("good day") && answer.contains("1000"), "{answer}");

    clear(&driver, workload_of_page.container).await;
    clear(&driver, workload_of_script.container).await;
    world.finish(driver).await;
}

#[tokio::test]
async fn a_script_cannot_reach_into_its_runner() {
    let world = World::new();
    let driver = world.open().await;
    let nosy = "#!/bin/sh\n( : >> /proc/1/mem ) 2> /dev/null && echo opened\nls /proc/1/fd 2> /dev/null && echo listed\n\
                ( : >> /proc/$$/mem ) && echo its own\n";
    let script = world.content("nosy", nosy);
    let workload = workload(&driver, ContentKind::Script).await;
    let started = driver.start(&workload, Some(&script)).await.unwrap();
    let answer = ask(&started.endpoint.unwrap(), "GET /").await;
    assert!(answer.ends_with("\r\n\r\nits own\n"), "{answer}");
    clear(&driver, workload.container).await;
    world.finish(driver).await;
}

#[tokio::test]
async fn what_cannot_start_says_why_and_stays_unknown() {
    let world = World::new();
    let driver = world.open().await;
    let page = world.content("page", "a page\n");
    let good = workload(&driver, ContentKind::Static).await;
    let lost = Workload { root: RootFs::HostImage { digest: Digest::from_sha256([9; 32]) }, ..good.clone() };
    let refused = driver.start(&lost, Some(&page)).await.unwrap_err();
    assert!(matches!(&refused, DriverError::Unavailable { hint: Some(_), .. }), "{refused}");
    let nonsense = Workload { program: Program::Command { argv: vec!["/no/such/program".to_owned()] }, ..good.clone() };
    let refused = driver.start(&nonsense, None).await.unwrap_err();
    assert!(matches!(&refused, DriverError::NoProgram { missing: true, .. }), "{refused}");
    let seen = driver.inspect(good.container).await;
    assert!(matches!(seen, Err(DriverError::Unknown(_))), "nothing stays: {seen:?}");
    world.finish(driver).await;
}

#[tokio::test]
async fn a_new_driver_finds_what_the_last_one_started() {
    let world = World::new();
    let driver = world.open().await;
    let page = world.content("page", "still here\n");
    let workload = workload(&driver, ContentKind::Static).await;
    let started = driver.start(&workload, Some(&page)).await.unwrap();
    std::sync::Arc::into_inner(driver).unwrap().close().await;
    let answer = ask(started.endpoint.as_ref().unwrap(), "GET /").await;
    assert!(answer.ends_with("still here\n"), "served while nobody is in charge: {answer}");
    let driver = world.open().await;
    let all = driver.recover().await.unwrap();
    assert_eq!((all.len(), all[0].phase), (1, Phase::Running));
    assert_eq!(all[0].labels["service"], "hello");
    assert_eq!(driver.start(&workload, Some(&page)).await.unwrap(), started);
    clear(&driver, workload.container).await;
    assert!(world.path().exists());
    world.finish(driver).await;
}
