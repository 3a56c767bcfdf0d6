use proptest::prelude::*;

use super::*;
use crate::guard::Guard;

fn see(bytes: &str) -> (Option<(usize, u64, bool)>, String) {
    let mut out = Vec::new();
    let seen = look(bytes.as_bytes(), &mut 0, &mut out);
    let plain = match seen {
        // Whose name it is, is looked at next.
        Seen::Plain(plain) if crate::host::parse(plain.host).is_err() => None,
        Seen::Plain(plain) => Some((plain.length, plain.body, plain.is_last)),
        _ => None,
    };
    (plain, String::from_utf8(out).unwrap())
}

#[test]
fn a_plain_request_is_translated() {
    let head = "POST /a/b?c=%20d HTTP/1.1\r\nHost: Hello.localhost\r\nX-Two:  a b \r\nContent-Length: 5\r\n\
        Connection: Close\r\nX-Forwarded-For: 6.6.6.6\r\nX_Real_Ip: 6.6.6.6\r\nKeep-Alive: 5\r\nX-Empty:\r\n\
        X-Request-Id: mine\r\nX-Request-Id: other\r\nCookie: a=b\r\n\r\n";
    let bytes = format!("{head}hello");
    let mut out = Vec::new();
    let Seen::Plain(plain) = look(bytes.as_bytes(), &mut 0, &mut out) else {
        panic!("it is plain");
    };
    assert_eq!((plain.length, plain.body, plain.is_last), (head.len(), 5, true));
    assert_eq!((plain.method, plain.path), (Method::Post, "/a/b"));
    assert_eq!((plain.host, plain.id), (&b"Hello.localhost"[..], Some(&b"mine"[..])));
    let expected = "POST /a/b?c=%20d HTTP/1.1\r\nx-two: a b\r\ncontent-length: 5\r\nx-empty: \r\ncookie: a=b\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn everything_else_goes_elsewhere() {
    let host = "Host: a.localhost\r\n";
    for request in [
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "get / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("GET http://a.localhost/ HTTP/1.1\r\n{host}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"),
        format!("CONNECT a:80 HTTP/1.1\r\n{host}\r\n"),
        format!("TRACE / HTTP/1.1\r\n{host}\r\n"),
        format!("BREW / HTTP/1.1\r\n{host}\r\n"),
        format!("GET /a#b HTTP/1.1\r\n{host}\r\n"),
        format!("GET /a\\b HTTP/1.1\r\n{host}\r\n"),
        format!("GET /a[b] HTTP/1.1\r\n{host}\r\n"),
        format!("GET /\u{e4} HTTP/1.1\r\n{host}\r\n"),
        format!("GET  / HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X: a\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X: a\r\n folded\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X : a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Cookie: a\r\nCookie: b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Connection: close\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Connection: close, x-a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}TE: trailers\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Trailer: x\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(64)),
        format!("GET / HTTP/1.1\r\n{host}X: {}", "y".repeat(HEAD_BYTES_MAX)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        assert_eq!(look(request.as_bytes(), &mut 0, &mut Vec::new()), Seen::Elsewhere, "{request:?}");
    }
}

/// What the guard says about the head at the front of `bytes`, as this path does.
fn guard_sees(bytes: &[u8]) -> Option<usize> {
    let mut guard = Guard::new();
    let verdict = guard.inspect(bytes);
    (verdict.refusal.is_none() && guard.heads() > 0).then_some(verdict.pass)
}

/// Requests that are nearly plain: every part is mostly good and sometimes not.
fn request() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => "(GET|POST|HEAD|PUT) /[a-z0-9/?=%&]{0,12} HTTP/1\\.1\r\n",
        1 => "[A-Z]{1,5} [ -~]{1,9} HTTP/1\\.[01]\r?\n",
    ];
    let field = prop_oneof![
        4 => "[A-Za-z-]{1,12}: ?[ -~]{0,12}\r\n",
        2 => "(C|c)onnection: (close|keep-alive|upgrade|x)\r\n",
        2 => "(C|c)ontent-(L|l)ength: [0-9]{1,3}\r\n",
        1 => "(Transfer-Encoding|TE|Upgrade|Expect|Host): [a-z]{0,8}\r\n",
        1 => "[\\x00-\\x7f]{1,12}\r?\n",
    ];
    let host = prop_oneof![8 => "Host: [a-z]{1,5}\\.localhost(:[0-9]{1,4})?\r\n", 1 => ""];
    (line, host, prop::collection::vec(field, 0..5))
        .prop_map(|(line, host, fields)| format!("{line}{host}{}\r\n", fields.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_plain_here_is_the_same_to_guard_and_parser(request in request(), rest in "[ -~]{0,20}") {
        let bytes = format!("{request}{rest}");
        if let (Some((length, body, _)), _) = see(&bytes) {
            // The guard passes the head and then what it takes for the body.
            let alone = &bytes.as_bytes()[..length];
            prop_assert_eq!(guard_sees(alone), Some(length));
            let mut padded = alone.to_vec();
            padded.extend(vec![b'x'; usize::try_from(body).unwrap()]);
            prop_assert_eq!(guard_sees(&padded), Some(padded.len()));
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut parsed = Request::new(&mut fields);
            prop_assert_eq!(parsed.parse(bytes.as_bytes()), Ok(Status::Complete(length)));
            let target: http::Uri = parsed.path.unwrap().parse().unwrap();
            prop_assert_eq!(target.path_and_query().map(|target| target.as_str()), parsed.path);
        }
    }

    #[test]
    fn any_split_gives_the_same(request in request(), cut in any::<prop::sample::Index>()) {
        let (whole, translated) = see(&request);
        let (mut searched, mut out) = (0, Vec::new());
        let first = &request.as_bytes()[..cut.index(request.len() + 1)];
        let early = look(first, &mut searched, &mut out);
        if early == Seen::Elsewhere {
            prop_assert_eq!(whole, None);
        } else {
            let late = look(request.as_bytes(), &mut searched, &mut out);
            prop_assert_eq!(late, look(request.as_bytes(), &mut 0, &mut Vec::new()));
            if whole.is_some() {
                prop_assert_eq!(String::from_utf8(out).unwrap(), translated);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        look(&bytes, &mut 0, &mut Vec::new());
    }
}
