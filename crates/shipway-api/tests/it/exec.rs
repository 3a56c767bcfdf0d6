//! Exec over a WebSocket.

use http::Method;
use shipway_api_types::TerminalSize;
use shipway_client::{Error, Exec, ExecOutput, ExecStart};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, ask, outcome, wait_until};

fn start(words: &[&str]) -> ExecStart {
    ExecStart { argv: words.iter().map(|word| (*word).to_owned()).collect(), ..ExecStart::default() }
}

async fn next(exec: &mut Exec) -> Result<Option<ExecOutput>, Error> {
    timeout(PATIENCE, exec.output.next()).await.expect("something should come")
}

fn said(text: &'static str) -> ExecOutput {
    ExecOutput::Stdout(bytes::Bytes::from_static(text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_the_status_comes_last() {
    let world = World::start().await;
    world.deploy("hello").await;
    let mut exec = world.root().exec("hello", start(&["cat"])).await.unwrap();
    exec.input.stdin(b"keys").await.unwrap();
    assert_eq!(next(&mut exec).await.unwrap(), Some(said("keys")));
    exec.input.resize(TerminalSize { columns: 100, rows: 30 }).await.unwrap();
    assert_eq!(next(&mut exec).await.unwrap(), Some(said("100x30")));
    exec.input.signal(2).await.unwrap();
    assert_eq!(next(&mut exec).await.unwrap(), Some(ExecOutput::Exited(130)));
    assert_eq!(next(&mut exec).await.unwrap(), None);

    let mut exec = world.root().exec("hello", start(&["both"])).await.unwrap();
    assert_eq!(next(&mut exec).await.unwrap(), Some(said("out")));
    let err = ExecOutput::Stderr(bytes::Bytes::from_static(b"err"));
    assert_eq!(next(&mut exec).await.unwrap(), Some(err));
    assert_eq!(next(&mut exec).await.unwrap(), Some(ExecOutput::Exited(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_says_why() {
    let world = World::start().await;
    world.deploy("hello").await;
    for (words, code) in [
        (&["missing"][..], "no_such_program"),
        (&["locked"][..], "not_executable"),
        (&["refused"][..], "conflict"),
        (&[][..], "invalid_field"),
        (&[""][..], "invalid_field"),
        (&["a\0b"][..], "invalid_field"),
        (&["vanish"][..], "engine_unavailable"),
    ] {
        let mut exec = world.root().exec("hello", start(words)).await.unwrap();
        let error = next(&mut exec).await.unwrap_err();
        assert_eq!(error.problem().unwrap().code, code, "{words:?}");
    }
    let error = world.root().exec("other", start(&["cat"])).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, "not_found");
    let error = world.client(None).exec("hello", start(&["cat"])).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_the_process_along() {
    let world = World::start().await;
    world.deploy("hello").await;
    let mut exec = world.root().exec("hello", start(&["cat"])).await.unwrap();
    exec.input.stdin(b"here").await.unwrap();
    assert_eq!(next(&mut exec).await.unwrap(), Some(said("here")));
    assert_eq!(world.live.running(), 1);
    drop(exec);
    wait_until("the process has ended", async || world.live.running() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_opens_no_exec() {
    let world = World::start().await;
    world.deploy("hello").await;
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", "http://evil.localhost:8080"),
    ];
    let answer = ask(&world.root(), Method::GET, "/v1/services/hello/exec", &upgrade, "").await;
    assert_eq!(outcome(&answer), "403 foreign_origin");
    assert_eq!(world.live.running(), 0);
}
