//! Services that are away, slow, of another cloud, or answer nonsense.

use std::time::Duration;

use http::Method;
use shipway_preempt::{Preempted, Provider, watch};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::stand_in::{StandIn, answer, foreseen, google};

#[tokio::test]
async fn nonsense_is_no_notice_and_asking_goes_on() {
    let stand_in = StandIn::start(|before, _| match before {
        0 => answer(500, "oops"),
        1 => answer(200, "TRUE"),
        2 => google("<html>welcome to the hotel</html>"),
        3 => google(&"x".repeat(1 << 20)),
        _ => google("TRUE"),
    })
    .await;
    let mut watch = stand_in.watch(Provider::Gcp);
    assert_eq!(foreseen(watch.as_mut()).await.what, "preempted");
    assert_eq!(stand_in.asked().len(), 5);
}

#[tokio::test]
async fn a_document_of_another_form_is_no_notice() {
    let stand_in = StandIn::start(|before, asked| match (asked.method(), before) {
        (&Method::PUT, _) => answer(200, "token"),
        (_, 1) => answer(200, "[]"),
        (_, 2) => answer(200, r#"{"time": "now"}"#),
        _ => answer(200, r#"{"action": "stop\u001b[2J", "time": ""}"#),
    })
    .await;
    let mut watch = stand_in.watch(Provider::Aws);
    let Preempted { what, not_before, .. } = foreseen(watch.as_mut()).await;
    assert_eq!((what.as_str(), not_before), ("stop[2J", None), "nothing reaches a terminal");
}

#[tokio::test]
async fn nobody_there_is_asked_again() {
    // Bound and not listening: connections are refused, and the port stays ours.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    let mut watch = watch(Provider::Gcp, Duration::from_millis(1), Some(&address)).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), watch.foreseen()).await;
    assert!(early.is_err(), "{early:?}");
    let later = async {
        let (mut first, _) = socket.listen(8).unwrap().accept().await.unwrap();
        let mut text = [0; 64];
        let read = first.read(&mut text).await.unwrap();
        assert!(text[..read].starts_with(b"GET /computeMetadata/"), "it asks the one that is there now");
    };
    tokio::select! {
        preempted = foreseen(watch.as_mut()) => panic!("{preempted:?}"),
        () = later => {}
    }
}

#[tokio::test]
async fn one_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut watch = watch(Provider::Aws, Duration::from_millis(1), Some(&address)).unwrap();
    let twice = async {
        let (first, _) = listener.accept().await.unwrap();
        // It is only after giving up the first that it comes again.
        let (_second, _) = listener.accept().await.unwrap();
        drop(first);
    };
    tokio::select! {
        preempted = foreseen(watch.as_mut()) => panic!("{preempted:?}"),
        () = twice => {}
    }
}

#[test]
fn names_and_addresses_are_checked() {
    for (name, provider) in [
        ("signal", Provider::Signal),
        ("sigusr1", Provider::Signal),
        ("azure", Provider::Azure),
        ("aws", Provider::Aws),
        ("gcp", Provider::Gcp),
    ] {
        assert_eq!(name.parse(), Ok(provider));
    }
    let error = "ibm".parse::<Provider>().unwrap_err().to_string();
    assert!(error.contains("\"ibm\"") && error.contains("signal (or sigusr1), azure, aws, gcp"), "{error}");
    for address in ["", "metadata", "https://127.0.0.1", "http://127.0.0.1/path", "ftp://x", "http://"] {
        assert!(watch(Provider::Gcp, Duration::from_secs(5), Some(address)).is_err(), "{address}");
    }
}
