use super::*;

fn parsed(text: &str) -> Result<Option<(Head, usize)>, Refusal> {
    parse(text.as_bytes(), 0)
}

#[track_caller]
fn check_refused(text: &str, status: u16, reason: &str) {
    match parsed(text) {
        Err(refusal) => assert_eq!((refusal.status, refusal.reason), (status, reason), "{text:?}"),
        Ok(head) => panic!("{text:?} was taken: {head:?}"),
    }
}

#[track_caller]
fn check(text: &str) -> Head {
    let (head, used) = parsed(text).unwrap().unwrap();
    assert_eq!(used, text.len());
    head
}

#[test]
fn a_plain_request_is_read() {
    let head = check("GET /a%20b?x=1?y HTTP/1.1\r\nHost: a.b:80\r\nX-A:  1 \r\n\r\n");
    assert_eq!(head.method, "GET");
    assert_eq!(head.target, Target::Path { path: "/a%20b".to_owned(), query: Some("x=1?y".to_owned()) });
    assert_eq!(head.host, "a.b:80");
    assert_eq!(head.only("x-a"), Some("1"));
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive && head.is_http11);
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 0..text.len() {
        assert_eq!(parse(&text[..cut], cut.saturating_sub(1)).unwrap(), None, "{cut}");
    }
    assert!(parse(text, text.len() - 1).unwrap().is_some());
}

#[test]
fn what_two_programs_could_read_differently_is_refused() {
    let host = "Host: a\r\n";
    for (text, reason) in [
        ("GET / HTTP/1.1\nHost: a\n\n", "a line ends with LF alone"),
        ("\nGET / HTTP/1.1\r\n", "a line ends with LF alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "a CR stands alone"),
        ("\r\n\r\n", "the request line is empty"),
        ("GET / HTTP/1.1\r\n\r\n", "Host is missing"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "Host is repeated"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "Host is malformed"),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "Host is malformed"),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "the request target has a character it may not have"),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", "the request target is neither a path nor a URL"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "the request line is malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", "a header's name is malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", "a header's name is malformed"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "a header's name is malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "a header's value is malformed"),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
    ] {
        check_refused(text, 400, reason);
    }
    for (lines, reason) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length and Transfer-Encoding are both given"),
        ("Content-Length: 1\r\nContent-Length: 1", "Content-Length is repeated"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding is repeated"),
        ("Content-Length: +1", "Content-Length is not a number"),
        ("Content-Length: 1, 1", "Content-Length is not a number"),
        ("Content-Length:", "Content-Length is not a number"),
        ("Content-Length: 0x10", "Content-Length is not a number"),
        ("Content-Length: 99999999999999999999", "Content-Length is not a number"),
    ] {
        check_refused(&format!("POST / HTTP/1.1\r\n{host}{lines}\r\n\r\n"), 400, reason);
    }
}

#[test]
fn other_refusals_have_their_own_status() {
    for (text, status) in [
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: a-miracle\r\n\r\n", 417),
    ] {
        assert_eq!(parsed(text).unwrap_err().status, status, "{text}");
    }
    let many = "X: 1\r\n".repeat(HEADERS_MAX);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    assert_eq!(parsed(&text).unwrap_err().status, 431);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX));
    assert_eq!(parsed(&long).unwrap_err().status, 431);
}

#[test]
fn one_empty_line_before_a_request_is_tolerated() {
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_target_in_absolute_form_brings_its_host() {
    let head = check("GET HTTP://b.c?q HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.host, "b.c");
    assert_eq!(head.target, Target::Path { path: "/".to_owned(), query: Some("q".to_owned()) });
}

#[test]
fn connections_stay_open_as_their_version_says() {
    let cases = [
        ("HTTP/1.1\r\nHost: a", true),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x, Close", false),
        ("HTTP/1.0", false),
        ("HTTP/1.0\r\nConnection: Keep-Alive", true),
    ];
    for (rest, keep_alive) in cases {
        let head = check(&format!("GET / {rest}\r\n\r\n"));
        assert_eq!(head.keep_alive, keep_alive, "{rest}");
    }
}

#[test]
fn escapes_are_decoded_but_never_to_nul() {
    assert_eq!(percent_decode("/a%20%C3%A9"), Some("/a é".as_bytes().to_vec()));
    for broken in ["%", "%4", "%zz", "%00", "/%2"] {
        assert_eq!(percent_decode(broken), None, "{broken}");
    }
}
