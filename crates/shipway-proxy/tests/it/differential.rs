//! The same traffic down the fast path and down the general one: services and
//! visitors must not notice which one it was.
//!
//! Compared are the bytes the origin saw and the bytes the visitor got. Put aside
//! are what differs by nature: ids, dates, the order of fields with different
//! names, and where chunks begin.

use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shipway_proxy::{Limits, Settings};

use crate::support::*;

const SHORT: Duration = Duration::from_millis(300);

/// What one path made of one conversation.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// What each connection to the origin carried.
    origin: Vec<String>,
    visitor: String,
}

/// Both paths, before the same kind of origin.
struct Paths {
    fast: World,
    general: World,
}

impl Paths {
    /// Only those limits are short that a test is about.
    fn new(change: impl Fn(&mut Limits)) -> Self {
        let limits = |settings: &mut Settings| {
            change(&mut settings.limits);
            settings.limits.body_bytes = 100_000;
        };
        let fast = World::with(limits);
        let general = World::with(|settings| {
            limits(settings);
            settings.fast_path = false;
        });
        Self { fast, general }
    }

    /// Sends `requests` down both paths, to an origin that answers every request with
    /// `answer`, and returns what both made of it.
    #[track_caller]
    fn compare(&self, requests: &[u8], answer: &[u8], after: After) -> Outcome {
        let mut fast = converse(&self.fast, requests, answer, after);
        let mut general = converse(&self.general, requests, answer, after);
        if after == After::Early {
            // hyper knows only sometimes that the connection is going to end.
            for outcome in [&mut fast, &mut general] {
                outcome.visitor = outcome.visitor.replace("connection: close\n", "");
            }
        }
        let asked = String::from_utf8_lossy(&requests[..requests.len().min(2000)]).into_owned();
        let answered = String::from_utf8_lossy(&answer[..answer.len().min(2000)]).into_owned();
        assert_eq!(fast.visitor, general.visitor, "the visitor got, fast and general, for {asked:?} and {answered:?}");
        assert_eq!(fast.origin, general.origin, "the origin saw, fast and general, for {asked:?} and {answered:?}");
        fast
    }
}

/// What the origin does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It reads the next request.
    Stay,
    /// It closes.
    Close,
    /// It answers before it has read the body, and closes.
    Early,
    /// It neither answers nor closes until the other side does.
    Silent,
}

fn converse(world: &World, requests: &[u8], answer: &[u8], after: After) -> Outcome {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (record, answer) = (Arc::clone(&seen), answer.to_vec());
    let origin = world.origin("hello", move |stream, _| serve(stream, &record, &answer, after));
    let visitor = world.ask(requests);
    world.is_idle(&origin, LIMIT);
    world.route("hello", shipway_proxy::RouteState::Stopped);
    let origin = seen.lock().unwrap().iter().map(|message| plain(message)).collect();
    Outcome { origin, visitor: plain_all(&visitor) }
}

fn serve(stream: &mut UnixStream, record: &Mutex<Vec<String>>, answer: &[u8], after: After) {
    if after == After::Early {
        let head = read_until(stream, "\r\n\r\n");
        record.lock().unwrap().push(head);
        stream.write_all(answer).ok();
        return;
    }
    while let Some(request) = read_request(stream) {
        record.lock().unwrap().push(request);
        if after == After::Silent {
            read_to_end(stream);
            return;
        }
        // The proxy may have had enough of it.
        if stream.write_all(answer).is_err() || after == After::Close {
            return;
        }
    }
}

/// All messages of a stream of answers, normalised.
fn plain_all(mut stream: &str) -> String {
    let mut all = String::new();
    while let Some((head, rest)) = stream.split_once("\r\n\r\n") {
        let (message, next) = split_body(head, rest);
        all += &plain(&format!("{head}\r\n\r\n{message}"));
        stream = next;
    }
    all + stream
}

fn split_body<'a>(head: &str, rest: &'a str) -> (String, &'a str) {
    let head = head.to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return dechunk(rest);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
    let end = length.unwrap_or(0).min(rest.len());
    (rest[..end].to_owned(), &rest[end..])
}

/// The data of chunks, and what follows them. What is cut off says so.
fn dechunk(mut rest: &str) -> (String, &str) {
    let mut data = String::new();
    loop {
        let Some((size, after)) = rest.split_once("\r\n") else {
            return (data + "<cut>", "");
        };
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (data, after.strip_prefix("\r\n").unwrap());
        }
        if after.len() < size + 2 {
            return (data + after + "<cut>", "");
        }
        data += &after[..size];
        rest = &after[size + 2..];
    }
}

/// One message: fields in lower case and in order, ids and dates replaced.
fn plain(message: &str) -> String {
    let Some((head, body)) = message.split_once("\r\n\r\n") else {
        return message.to_owned();
    };
    let mut lines = head.split("\r\n");
    let mut text = format!("{}\n", lines.next().unwrap());
    let mut fields: Vec<(String, String)> = lines.map(field).collect();
    // Stable: fields with one name keep their order.
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in fields {
        writeln!(text, "{name}: {value}").unwrap();
    }
    let body = match body.split_once("request id: ") {
        Some((reason, id)) => format!("{reason}request id: <{}>\n", id.trim_end().len()),
        None => body.to_owned(),
    };
    text + "\n" + &body + "\n"
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").or_else(|| line.split_once(':')).unwrap();
    let name = name.to_ascii_lowercase();
    let is_own = name == "x-request-id" && value.len() == 32;
    let is_today = name == "date" && value != THEN;
    let value = if is_own || is_today { "<new>".to_owned() } else { value.to_owned() };
    (name, value)
}

const THEN: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
const CLOSE: &str = "Host: hello.localhost\r\nConnection: close\r\n";

fn requests() -> Vec<String> {
    let host = "Host: hello.localhost\r\n";
    let get = format!("GET /a HTTP/1.1\r\n{host}\r\n");
    let last = format!("GET /last HTTP/1.1\r\n{CLOSE}\r\n");
    let large = "x".repeat(70_000);
    [
        format!("GET / HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("GET /%20a//b/../c?d=e&f=%2F HTTP/1.1\r\n{CLOSE}X-One: 1\r\nX-Two:2  \r\nx-one: 3\r\nX-Empty:\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{CLOSE}X-Forwarded-For: 6.6.6.6\r\nForwarded: for=x\r\nX-Real-IP: y\r\nX_Forwarded_For: z\r\n\
             Proxy: p\r\nShipway-User: root\r\nKeep-Alive: 5\r\nProxy-Authorization: a\r\nContent_Length: 7\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{CLOSE}X-Request-Id: mine-1\r\nX-Request-Id: other\r\nTraceparent: 00-a-b-01\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{CLOSE}X-Request-Id: not sane\r\nCookie: a=b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{CLOSE}Cookie: a=b\r\nCookie: c=d\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: HELLO.localhost.:8080\r\nConnection: Close\r\n\r\n".to_owned(),
        format!("HEAD / HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("DELETE / HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("OPTIONS /x HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("BREW / HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("POST / HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 5\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 0005\r\n\r\nhello"),
        format!("GET / HTTP/1.1\r\n{CLOSE}Content-Length: 5\r\n\r\nhello"),
        format!("PUT / HTTP/1.1\r\n{CLOSE}Content-Length: 70000\r\n\r\n{large}"),
        format!("POST / HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"),
        "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{CLOSE}TE: trailers\r\n\r\n"),
        "GET / HTTP/1.0\r\nHost: hello.localhost\r\n\r\n".to_owned(),
        format!("GET http://hello.localhost/abs HTTP/1.1\r\n{CLOSE}\r\n"),
        // Several on one connection, some of them for the general path.
        format!("{get}{last}"),
        format!("{get}{get}{get}{last}"),
        format!("{get}POST /b HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello{get}{last}"),
        format!("{get}POST /b HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{get}{last}"),
        format!("\r\n{get}\r\n{get}{last}"),
        // Refused by either.
        format!("{get}GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("{get}GET / HTTP/1.1\n{host}\r\n"),
        format!("{get}POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{get}GET /\u{1} HTTP/1.1\r\n{host}\r\n"),
        format!("{get}GET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n"),
        format!("{get}GET / HTTP/1.1\r\n{host}X: {large}\r\n\r\n"),
        format!("{get}GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(100)),
        format!("GET / HTTP/1.1\r\n{CLOSE}{}\r\n", "X: y\r\n".repeat(70)),
        format!("{get}POST / HTTP/1.1\r\n{host}Content-Length: 100001\r\n\r\n{}", "x".repeat(100_001)),
        // What does not come in time.
        get.clone(),
        format!("{get}GET / HT"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhel"),
    ]
    .to_vec()
}

#[test]
fn requests_are_passed_on_alike() {
    let paths = Paths::new(|limits| (limits.header_time, limits.idle, limits.body_idle) = (SHORT, SHORT, SHORT));
    for request in requests() {
        paths.compare(request.as_bytes(), ok("good").as_bytes(), After::Stay);
    }
    assert_eq!(paths.general.metric("fast_requests_total"), 0);
    let fast = paths.fast.metric("fast_requests_total");
    assert!(fast > 25, "the fast path was taken {fast} times");
}

/// An answer, and what the origin does after it.
fn answers() -> Vec<(String, After)> {
    use After::{Close, Stay};
    let large = "x".repeat(300_000);
    let fields = format!("Date: {THEN}\r\nServer: mine\r\nSet-Cookie: a=1\r\nX: 1\r\nSet-Cookie: b=2\r\n");
    vec![
        (ok("good"), Stay),
        (ok(""), Stay),
        (ok(&large), Stay),
        (format!("HTTP/1.1 200 Fine\r\n{fields}Content-Length: 2\r\n\r\nhi"), Stay),
        (format!("HTTP/1.1 404 Gone Fishing\r\n{fields}Content-Length: 2\r\n\r\nhi"), Stay),
        ("HTTP/1.1 299\r\nContent-Length: 2\r\n\r\nhi".to_owned(), Stay),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi".to_owned(), Stay),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(), Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\nhi".to_owned(), Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: forged\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\n\r\nhi".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n".to_owned(), Stay),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len()), Stay),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end".to_owned(), Close),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), Close),
        (format!("HTTP/1.1 200 OK\r\n\r\n{large}"), Close),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end".to_owned(), Close),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n".to_owned(), Stay),
        (format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n{}", ok("good")), Stay),
        // Not answers, or not whole ones.
        (String::new(), Close),
        ("HTTP/1.1 200 OK\r\nContent-".to_owned(), Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_owned(), Close),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel".to_owned(), Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstuck".to_owned(), Stay),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), Stay),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nBad header\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n".to_owned(), Stay),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), Close),
        (format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(300)), Stay),
        (format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(200_000)), Stay),
        (format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(900_000)), Stay),
        (format!("{}{}", ok("first"), ok("poison")), Stay),
    ]
}

#[test]
fn answers_are_passed_on_alike() {
    let paths = Paths::new(|limits| limits.response_idle = Duration::from_secs(1));
    for (answer, after) in answers() {
        let requests = format!("GET /a HTTP/1.1\r\nHost: hello.localhost\r\n\r\nGET /b HTTP/1.1\r\n{CLOSE}\r\n");
        paths.compare(requests.as_bytes(), answer.as_bytes(), after);
        let is_bodiless = answer.contains("\r\n\r\n") && !answer.starts_with("HTTP/1.1 1");
        if is_bodiless {
            let head = &answer[..answer.find("\r\n\r\n").unwrap() + 4];
            paths.compare(format!("HEAD /a HTTP/1.1\r\n{CLOSE}\r\n").as_bytes(), head.as_bytes(), after);
        }
    }
    assert_eq!(paths.general.metric("fast_requests_total"), 0);
}

#[test]
fn a_service_that_does_not_answer_is_told_of_alike() {
    let paths = Paths::new(|limits| limits.first_byte = SHORT);
    let get = format!("GET / HTTP/1.1\r\n{CLOSE}\r\n");
    let silent = paths.compare(get.as_bytes(), b"", After::Silent);
    assert!(silent.visitor.starts_with("HTTP/1.1 504 "), "{silent:?}");
    let post = format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 3\r\n\r\nabc");
    paths.compare(post.as_bytes(), b"", After::Silent);
    paths.compare(post.as_bytes(), b"", After::Close);
    for world in [&paths.fast, &paths.general] {
        assert!(world.metric("limits_hit_total{limit=\"first_byte\"}") >= 2);
    }
}

#[test]
fn an_early_answer_is_passed_on_alike() {
    let paths = Paths::new(|_| {});
    let body = "x".repeat(90_000);
    let post = format!("POST / HTTP/1.1\r\n{CLOSE}Content-Length: 90000\r\n\r\n{body}");
    let early = paths.compare(post.as_bytes(), b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", After::Early);
    assert!(early.visitor.starts_with("HTTP/1.1 413 "), "{early:?}");
    // The rest of a body must not be read as a request.
    let smuggled = format!(
        "POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 90000\r\n\r\nGET /smuggled HTTP/1.1\r\n{CLOSE}\r\n"
    );
    let early = paths.compare(smuggled.as_bytes(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", After::Early);
    assert_eq!(early.origin.len(), 1, "{early:?}");
}
