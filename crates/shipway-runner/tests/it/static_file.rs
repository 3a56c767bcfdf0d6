//! A file at `/`.

use std::io::Write;

use crate::harness::{Answer, DIGEST, Reader, Which, send};

on_both![
    the_file_is_served_at_the_root_only,
    a_declared_type_is_kept,
    other_methods_are_named,
    a_client_that_has_it_is_not_sent_it_again,
    parts_are_served,
    several_parts_are_served_as_one_message,
    a_large_file_arrives_whole_and_in_parts,
    an_empty_file_is_a_file,
    requests_sent_at_once_are_answered_in_their_order,
];

const TEXT: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

#[track_caller]
fn ask(which: Which, lines: &str) -> Answer {
    let runner = which.file(TEXT.as_bytes()).start();
    runner.ask(&format!("GET / HTTP/1.1\nHost: a{lines}"))
}

fn the_file_is_served_at_the_root_only(which: Which) {
    let runner = which.file(TEXT.as_bytes()).with("--file-name", "a.html").start();
    let answer = runner.get("/?x=1");
    assert_eq!((answer.status, answer.text().as_str()), (200, TEXT));
    assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("ETag"), Some(format!("\"{DIGEST}\"").as_str()));
    assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    assert_eq!(answer.header("Content-Length"), Some("36"));
    assert!(answer.header("Last-Modified").is_some() && answer.header("Date").is_some());
    for path in ["/index.html", "//", "/.", "/%2e"] {
        assert_eq!(runner.get(path).status, 404, "{path}");
    }
}

fn a_declared_type_is_kept(which: Which) {
    let runner = which.file(b"x").with("--content-type", "image/x").with("--file-name", "a.html").start();
    assert_eq!(runner.get("/").header("Content-Type"), Some("image/x"));
    let runner = which.file(b"caf\xe9").start();
    assert_eq!(runner.get("/").header("Content-Type"), Some("text/plain"));
}

fn other_methods_are_named(which: Which) {
    let runner = which.file(TEXT.as_bytes()).start();
    let head = runner.ask("HEAD / HTTP/1.1\nHost: a");
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("36")));
    let answer = runner.ask_with("POST / HTTP/1.1\nHost: a\nContent-Length: 3", b"abc");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")));
}

fn a_client_that_has_it_is_not_sent_it_again(which: Which) {
    let etag = format!("\"{DIGEST}\"");
    let answer = ask(which, &format!("\nIf-None-Match: {etag}"));
    assert_eq!((answer.status, answer.header("ETag")), (304, Some(etag.as_str())));
    // None, or the one that a 200 would have (RFC 9110 §8.6).
    assert!(matches!(answer.header("Content-Length"), None | Some("36")));
    assert_eq!(ask(which, "\nIf-None-Match: \"x\"").status, 200);
    assert_eq!(ask(which, "\nIf-Match: \"x\"").status, 412);
    let modified = ask(which, "").header("Last-Modified").unwrap().to_owned();
    let since = ask(which, &format!("\nIf-Modified-Since: {modified}")).status;
    // Made anew for each question, perhaps a second later.
    assert!(since == 304 || since == 200);
}

fn parts_are_served(which: Which) {
    let answer = ask(which, "\nRange: bytes=2-4");
    assert_eq!((answer.status, answer.text().as_str()), (206, "234"));
    assert_eq!(answer.header("Content-Range"), Some("bytes 2-4/36"));
    let answer = ask(which, "\nRange: bytes=40-");
    assert_eq!((answer.status, answer.header("Content-Range")), (416, Some("bytes */36")));
    assert_eq!(ask(which, "\nRange: bytes=0-1\nIf-Range: \"other\"").status, 200);
    assert_eq!(ask(which, &format!("\nRange: bytes=0-1\nIf-Range: \"{DIGEST}\"")).status, 206);
}

fn several_parts_are_served_as_one_message(which: Which) {
    let answer = ask(which, "\nRange: bytes=0-0,-2");
    assert_eq!(answer.status, 206);
    let content_type = answer.header("Content-Type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let part = |range: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/36\r\n\r\n{text}"
        )
    };
    let expected = format!("{}{}\r\n--{boundary}--\r\n", part("0-0", "0"), part("34-35", "yz"));
    assert_eq!(answer.text(), expected);
}

fn a_large_file_arrives_whole_and_in_parts(which: Which) {
    let mut content: Vec<u8> = (0_u32..1_500_000).flat_map(u32::to_le_bytes).collect();
    content.truncate(5_999_999);
    let runner = which.file(&content).start();
    assert!(runner.get("/").body == content);
    let answer = runner.ask("GET / HTTP/1.1\nHost: a\nRange: bytes=100000-4000000");
    assert!(answer.body == content[100_000..=4_000_000]);
    let answer = runner.ask("GET / HTTP/1.1\nHost: a\nRange: bytes=0-99999,200000-299999");
    assert!(answer.body.windows(100_000).any(|window| window == &content[200_000..300_000]));
}

fn an_empty_file_is_a_file(which: Which) {
    let runner = which.file(b"").start();
    let answer = runner.get("/");
    assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("0")));
    // It has no byte to begin at; nginx serves it whole, which the standard allows too.
    let status = runner.ask("GET / HTTP/1.1\nHost: a\nRange: bytes=0-").status;
    assert_eq!(status, if which == Which::Native { 416 } else { 200 });
}

#[test]
fn readiness_means_that_the_file_can_be_read() {
    let runner = Which::Native.file(b"x").start();
    let probe = "OPTIONS * HTTP/1.1\nHost: a\nshipway-probe: ready";
    assert_eq!(runner.ask(probe).status, 204);
    std::fs::remove_file(runner.content()).unwrap();
    let answer = runner.ask(probe);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("cannot be read"), "{}", answer.text());
    assert_eq!(runner.get("/").status, 500);
}

fn requests_sent_at_once_are_answered_in_their_order(which: Which) {
    let runner = which.file(TEXT.as_bytes()).start();
    let mut stream = runner.connect();
    let mut requests = String::new();
    for at in 0..200 {
        let byte = at % 36;
        requests += &format!("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes={byte}-{byte}\r\n\r\n");
    }
    stream.write_all(requests.as_bytes()).unwrap();
    send(&mut stream, "GET /x HTTP/1.1\nHost: a\nConnection: close", b"");
    let mut reader = Reader::new(stream, false);
    for at in 0..200 {
        assert_eq!(reader.answer().body, [TEXT.as_bytes()[at % 36]]);
    }
    let last = reader.answer();
    assert_eq!((last.status, last.header("Connection")), (404, Some("close")));
    assert!(reader.is_at_end());
}
