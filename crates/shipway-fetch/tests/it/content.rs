//! What an origin may answer, and what is kept of it.

use std::time::Duration;

use shipway_model::FailureCode::{self, FetchFailed, FetchStatus, FetchTooLarge};

use crate::harness::{Act, Names, Origin, PUBLIC, World, say};

#[tokio::test]
async fn content_is_kept_with_its_type_and_name() {
    let answer = "HTTP/1.1 200 OK\nContent-Type: text/html; charset=utf-8\nContent-Length: 11\n\nhello world";
    let origin = Origin::start(PUBLIC, &[say(answer)]).await;
    let world = World::new(Names::default());
    let url = origin.url("/a/page.html?x=1");
    let source = world.fetch(&url).await.unwrap();
    assert_eq!(source.digest.hex(), "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    assert_eq!(source.size_bytes, 11);
    assert_eq!(source.content_type.as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(source.file_name.as_deref(), Some("page.html"));
    assert_eq!(source.url, Some(url));
    assert!(world.blobs.verify(&source.digest).unwrap());
    assert_eq!(world.partial_files(), 0);
    let request = origin.requests.lock().unwrap()[0].to_ascii_lowercase();
    assert!(request.starts_with("get /a/page.html?x=1 http/1.1\r\n"), "{request}");
    for line in
        [format!("host: {}", origin.address), "accept-encoding: identity".to_owned(), "connection: close".to_owned()]
    {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
    }
}

#[tokio::test]
async fn every_honest_framing_is_read() {
    for answer in [
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n",
        "HTTP/1.1 200 OK\nConnection: close\n\nabc",
        "HTTP/1.0 200 OK\n\nabc",
        "HTTP/1.1 103 Early Hints\n\nHTTP/1.1 200 OK\nContent-Length: 3\nContent-Encoding: identity\n\nabc",
    ] {
        let origin = Origin::start(PUBLIC, &[say(answer)]).await;
        let world = World::new(Names::default());
        assert_eq!(world.fetch(&origin.url("/")).await.unwrap().size_bytes, 3, "{answer:?}");
    }
    // An origin that keeps the connection open does not keep us.
    let origin = Origin::start(PUBLIC, &[say("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"), Act::Hang]).await;
    let world = World::new(Names::default());
    assert_eq!(world.fetch(&origin.url("/")).await.unwrap().size_bytes, 3);
}

#[track_caller]
fn check(acts: Vec<Act>, code: FailureCode, says: &'static str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let origin = Origin::start(PUBLIC, &acts).await;
        let world = World::new(Names::default());
        let (seen, detail) = world.fails(&origin.url("/")).await;
        assert_eq!(seen, code, "{caller}: {detail}");
        assert!(detail.contains(says), "{caller}: {detail}");
    }
}

#[tokio::test]
async fn only_200_is_content() {
    for status in ["204 No", "206 Partial", "300 Many", "304 Same", "404 Gone", "500 Oops"] {
        let answer = format!("HTTP/1.1 {status}\nContent-Length: 0\n\n");
        check(vec![say(&answer)], FetchStatus, "instead of 200").await;
    }
    check(vec![say("HTTP/1.1 302 Found\nContent-Length: 0\n\n")], FetchStatus, "302").await;
}

#[tokio::test]
async fn a_lying_length_is_seen() {
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: 10\n\nabc")], FetchFailed, "broke off after").await;
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: 3\n\nabcdef")], FetchFailed, "announced 3 bytes and sent more")
        .await;
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: 3\nConnection: close\n\nabcdef")], FetchFailed, "sent more").await;
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 6\n\nabcdef")], FetchFailed, "no answer").await;
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: -3\n\nabc")], FetchFailed, "no answer").await;
    check(vec![say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nab")], FetchFailed, "broke off").await;
    check(vec![say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\nab")], FetchFailed, "broke off").await;
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let zeros = vec![0; 64 << 10];
    let endless = vec![say("HTTP/1.1 200 OK\n\n"), Act::Repeat(zeros.clone(), Duration::ZERO)];
    check(endless, FetchTooLarge, "more than 1048576 bytes").await;
    let chunk = [b"10000\r\n".as_slice(), &zeros, b"\r\n"].concat();
    let chunks = vec![say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"), Act::Repeat(chunk, Duration::ZERO)];
    check(chunks, FetchTooLarge, "more than").await;
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: 1048577\n\n"), Act::Hang], FetchTooLarge, "more than").await;
    // Exactly the limit is not too much.
    let whole = vec![say("HTTP/1.1 200 OK\nContent-Length: 1048576\n\n"), Act::Say(vec![0; 1 << 20])];
    let origin = Origin::start(PUBLIC, &whole).await;
    assert_eq!(World::new(Names::default()).fetch(&origin.url("/")).await.unwrap().size_bytes, 1 << 20);
}

#[tokio::test]
async fn packed_content_is_never_unpacked() {
    // A thousand bytes that would become a million.
    for header in [
        "Content-Encoding: gzip",
        "Content-Encoding: identity\nContent-Encoding: br",
        "Content-Encoding: identity, gzip",
    ] {
        let answer = format!("HTTP/1.1 200 OK\n{header}\nContent-Length: 1000\n\n");
        check(vec![say(&answer), Act::Say(vec![0x1f; 1000])], FetchFailed, "asked not to").await;
    }
    let answer = "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n3\nabc\n0\n\n";
    check(vec![say(answer)], FetchFailed, "transfer coding").await;
}

#[tokio::test]
async fn nonsense_is_an_error() {
    check(vec![say("SSH-2.0-OpenSSH_9.2\n")], FetchFailed, "no answer").await;
    check(vec![], FetchFailed, "no answer").await;
    let many = "X: 1\n".repeat(200);
    check(vec![say(&format!("HTTP/1.1 200 OK\n{many}\n"))], FetchFailed, "no answer").await;
    let long = "x".repeat(300_000);
    check(vec![say(&format!("HTTP/1.1 200 OK\nX: {long}\n\n"))], FetchFailed, "no answer").await;
}

#[tokio::test]
async fn a_download_given_up_leaves_nothing() {
    let origin = Origin::start(PUBLIC, &[say("HTTP/1.1 200 OK\nContent-Length: 100\n\nabc"), Act::Hang]).await;
    let world = World::new(Names::default());
    let url = origin.url("/");
    let mut download = Box::pin(world.fetch(&url));
    tokio::select! {
        result = &mut download => panic!("{result:?}"),
        () = crate::harness::wait_until("the first bytes", || world.partial_files() == 1) => {}
    }
    drop(download);
    // One given up while its file is being made is removed by the thread that makes it.
    crate::harness::wait_until("the file's end", || world.partial_files() == 0).await;
    world.assert_nothing_kept();
}
