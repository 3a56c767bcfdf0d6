use proptest::prelude::*;

use super::*;

const ASKED: Asked<'_> = Asked { is_head: false, is_last: false, id: b"id-1" };

fn see(bytes: &str, asked: Asked<'_>) -> (Seen, String) {
    let mut out = Vec::new();
    let seen = look(bytes.as_bytes(), asked, &mut out);
    let text = String::from_utf8(out).unwrap();
    (seen, text)
}

#[test]
fn an_answer_is_translated() {
    let bytes = "HTTP/1.1 200 Very OK\r\nDate: then\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
        Set-Cookie: a\r\nset-cookie: b\r\nX-Request-Id: forged\r\nContent-Length: 007\r\n\r\n1234567";
    let (seen, text) = see(bytes, ASKED);
    let Seen::Answer(answer) = seen else { panic!("{seen:?}") };
    assert_eq!((answer.framing, answer.is_reusable), (Framing::Length(7), true));
    assert_eq!(bytes.len() - answer.length, 7);
    let expected = "HTTP/1.1 200 OK\r\ndate: then\r\nset-cookie: a\r\nset-cookie: b\r\nx-request-id: id-1\r\n\
        content-length: 7\r\n\r\n";
    assert_eq!(text, expected);
}

#[test]
fn bodies_are_framed_as_hyper_frames_them() {
    use Framing::{Chunked, Empty, Length, UntilClose};
    let head = Asked { is_head: true, ..ASKED };
    for (fields, status, asked, expected) in [
        ("Content-Length: 5\r\n", 200, ASKED, Some(Length(5))),
        ("Content-Length: 5, 5\r\nContent-Length: 5\r\n", 200, ASKED, Some(Length(5))),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 200, ASKED, None),
        ("Content-Length: x\r\n", 200, ASKED, None),
        ("Content-Length: -1\r\n", 200, ASKED, None),
        ("Content-Length: 18446744073709551615\r\n", 200, ASKED, None),
        ("Transfer-Encoding: gzip, Chunked\r\nContent-Length: x\r\n", 200, ASKED, Some(Chunked)),
        ("Transfer-Encoding: gzip\r\n", 200, ASKED, Some(UntilClose)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", 200, ASKED, Some(UntilClose)),
        ("", 200, ASKED, Some(UntilClose)),
        ("Content-Length: 5\r\n", 204, ASKED, Some(Empty)),
        ("Content-Length: 5\r\n", 304, ASKED, Some(Empty)),
        ("Content-Length: 5\r\n", 200, head, Some(Empty)),
        ("Transfer-Encoding: chunked\r\n", 404, head, Some(Empty)),
    ] {
        let (seen, _) = see(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), asked);
        let framing = if let Seen::Answer(answer) = seen { Some(answer.framing) } else { None };
        assert_eq!(framing, expected, "{status} {fields:?}");
    }
}

#[test]
fn a_connection_is_kept_unless_the_answer_says_otherwise() {
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: x, Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", false),
    ] {
        let (seen, _) = see(&format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{connection}\r\n"), ASKED);
        let Seen::Answer(answer) = seen else { panic!("{seen:?}") };
        assert_eq!(answer.is_reusable, kept, "{version} {connection:?}");
    }
}

#[test]
fn what_is_no_answer_is_garbage_at_once() {
    for garbage in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/2 200 OK\r\n",
        "HTTP/1.1 20x OK\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(see(garbage, ASKED).0, Seen::Garbage, "{garbage:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(FIELDS_MAX + 1));
    assert_eq!(see(&many, ASKED).0, Seen::Garbage);
    assert_eq!(see("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP", ASKED).0, Seen::Interim(31));
    assert_eq!(see("HTTP/1.1 200 OK\r\nA", ASKED).0, Seen::More);
}

#[test]
fn ours_end_with_a_date_and_the_connections_end() {
    let asked = Asked { is_last: true, ..ASKED };
    let (_, text) = see("HTTP/1.1 299 X\r\n\r\n", asked);
    assert!(text.starts_with("HTTP/1.1 299 <none>\r\nx-request-id: id-1\r\ntransfer-encoding: chunked\r\n"), "{text}");
    let date = text.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    assert!(httpdate::parse_http_date(date).is_ok());
    assert!(text.contains("connection: close\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn numbers_are_written() {
    for number in [0, 7, 10, u64::MAX] {
        assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        head.extend(&bytes);
        look(&bytes, ASKED, &mut Vec::new());
        look(&head, ASKED, &mut Vec::new());
    }
}
