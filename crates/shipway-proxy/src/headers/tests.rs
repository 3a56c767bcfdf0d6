use super::*;

fn map(lines: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn names(map: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = map.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

const ADDED: [&str; 8] = [
    "forwarded",
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-original-host",
    "x-original-subdomain",
    "x-request-id",
];

/// Checks which headers a service sees besides those we add.
#[track_caller]
fn check(given: &str, expected: &[&str]) -> HeaderMap {
    let mut headers = map(given);
    let host = HeaderValue::from_static("hello.localhost:8080");
    let way = Way {
        from: &VisitorAddress::new("192.0.2.1".parse().unwrap()),
        host: &host,
        label: Some("hello"),
        request_id: &HeaderValue::from_static("r1"),
        upgrade: None,
    };
    for_service(&mut headers, &way);
    let kept: Vec<String> = names(&headers).into_iter().filter(|name| !ADDED.contains(&name.as_str())).collect();
    assert_eq!(kept, expected, "given: {given}");
    headers
}

#[test]
fn headers_of_one_connection_stop_here() {
    check(
        "connection: keep-alive, X-Secret
         connection: x-other
         keep-alive: timeout=5
         proxy-authorization: basic x
         proxy-connection: close
         te: gzip
         upgrade: h2c
         expect: 100-continue
         x-secret: 1
         x-other: 2
         x-kept: 3",
        &["x-kept"],
    );
}

#[test]
fn a_connection_header_cannot_take_away_what_a_message_needs() {
    check("connection: host, content-length\ncontent-length: 3", &["content-length"]);
}

#[test]
fn a_visitor_cannot_say_who_it_is() {
    let headers = check(
        "x-forwarded-for: 10.0.0.1
         x-forwarded-anything: x
         forwarded: for=10.0.0.1
         x-real-ip: 10.0.0.1
         x-original-host: evil
         shipway-user: root
         proxy: http://evil
         x_forwarded_for: 10.0.0.1
         x-forwarded_for: 10.0.0.1
         content_length: 5
         transfer_encoding: chunked
         my_own: fine
         traceparent: 00-1-2-01",
        &["my_own", "traceparent"],
    );
    assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
    assert_eq!(headers["x-forwarded-host"], "hello.localhost:8080");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["forwarded"], "for=192.0.2.1;host=\"hello.localhost:8080\";proto=http");
    assert_eq!(headers["x-original-host"], "hello.localhost:8080");
    assert_eq!(headers["x-original-subdomain"], "hello");
    assert_eq!(headers["x-request-id"], "r1");
}

#[test]
fn who_wants_trailers_gets_them() {
    let headers = check("te: trailers, deflate\nconnection: te\ntrailer: x-sum", &["connection", "te", "trailer"]);
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["connection"], "te");
}

#[test]
fn cookies_sent_apart_are_joined() {
    let headers = check("cookie: a=1\ncookie: b=2", &["cookie"]);
    assert_eq!(headers["cookie"], "a=1; b=2");
}

#[test]
fn a_response_keeps_what_is_its_own() {
    let mut headers = map("connection: close, x-hop
         x-hop: 1
         keep-alive: timeout=5
         transfer-encoding: chunked
         content-length: 5
         date: Thu, 01 Jan 1970 00:00:00 GMT
         trailer: x-sum
         x-request-id: forged");
    for_visitor(&mut headers, &HeaderValue::from_static("r1"));
    assert_eq!(names(&headers), ["date", "trailer", "x-request-id"]);
    assert_eq!(headers["x-request-id"], "r1");
}

#[test]
fn trailers_cannot_frame_or_forward() {
    let mut trailers = map("content-length: 1\nx-forwarded-for: 1\nhost: x\nte: x\nx-sum: 5");
    clean_trailers(&mut trailers);
    assert_eq!(names(&trailers), ["x-sum"]);
}

#[test]
fn an_ipv6_visitor_is_written_as_forwarded_wants_it() {
    let from = VisitorAddress::new("2001:db8::1".parse().unwrap());
    assert_eq!((&from.address, &*from.node), (&HeaderValue::from_static("2001:db8::1"), "\"[2001:db8::1]\""));
    let mapped = VisitorAddress::new("::ffff:192.0.2.1".parse().unwrap());
    assert_eq!((&mapped.address, &*mapped.node), (&HeaderValue::from_static("192.0.2.1"), "192.0.2.1"));
}
