use proptest::prelude::*;

use super::*;

/// Shows `bytes` to a guard in pieces as given, as a stream would; returns what
/// passed, how many heads, and the refusal.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, u64, Option<Refusal>) {
    let mut guard = Guard::new();
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let verdict = guard.inspect(&held);
        passed.extend(held.drain(..verdict.pass));
        if verdict.refusal.is_some() {
            return (passed, guard.heads(), verdict.refusal);
        }
    }
    (passed, guard.heads(), None)
}

/// Checks a stream of requests, whole and split at every byte and byte by byte:
/// the pieces must never make a difference.
#[track_caller]
fn check(stream: &str, heads: u64, refusal: Option<Refusal>) {
    let bytes = stream.as_bytes();
    let whole = feed([bytes]);
    assert_eq!((whole.1, whole.2), (heads, refusal), "whole: {stream:?}");
    assert!(bytes.starts_with(&whole.0));
    if refusal.is_none() {
        assert_eq!(whole.0, bytes, "all must pass: {stream:?}");
    }
    for at in 0..bytes.len() {
        let split = feed([&bytes[..at], &bytes[at..]]);
        assert_eq!((split.1, split.2), (heads, refusal), "split at {at}: {stream:?}");
    }
    let single = feed(bytes.chunks(1));
    assert_eq!((single.1, single.2), (heads, refusal), "byte by byte: {stream:?}");
}

fn passes(stream: &str, heads: u64) {
    check(stream, heads, None);
}

/// Checks that `lines` (besides a request line and a Host) are refused, also as
/// the second request of a connection.
#[track_caller]
fn refuses(lines: &str, refusal: Refusal) {
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    check(&request, 0, Some(refusal));
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{request}"), 1, Some(refusal));
}

#[test]
fn plain_requests_pass() {
    passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    passes("GET / HTTP/1.0\r\n\r\n", 1);
    passes("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    passes("OPTIONS * HTTP/1.1\r\nHost: a:80\r\nAccept: */*\r\n\r\n", 1);
    passes("GET http://a/ HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n", 1);
}

#[test]
fn bodies_are_followed_to_the_next_request() {
    let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    passes(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /{next}"), 2);
    passes(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{next}{next}"), 3);
    passes(&format!("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n\n\n\n{next}"), 2);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
    passes(&format!("{chunked}0\r\n\r\n{next}"), 2);
    passes(&format!("{chunked}5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n{next}"), 2);
}

#[test]
fn a_host_is_there_once_and_valid() {
    check("GET / HTTP/1.1\r\n\r\n", 0, Some(Refusal::HostMissing));
    refuses("Host: a", Refusal::HostRepeated);
    refuses("hOST: b", Refusal::HostRepeated);
    for host in ["", "a b", "a/b", "u@a", "a:b", "a,b", "a\u{7f}"] {
        let stream = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let refusal = feed([stream.as_bytes()]).2;
        assert!(matches!(refusal, Some(Refusal::HostInvalid | Refusal::Malformed)), "{host:?}: {refusal:?}");
    }
}

#[test]
fn lengths_and_encodings_are_read_in_one_way() {
    for value in ["5, 5", "+5", "-1", "0x5", "5 5", "", "99999999999999999999", "5;"] {
        refuses(&format!("Content-Length: {value}"), Refusal::Length);
    }
    refuses("Content-Length: 5\r\nContent-Length: 5", Refusal::Length);
    refuses("Content-Length: 5\r\ncontent-length: 6", Refusal::Length);
    refuses("Content-Length: 5\r\nTransfer-Encoding: chunked", Refusal::LengthAndEncoding);
    refuses("Transfer-Encoding: chunked\r\nContent-Length: 0", Refusal::LengthAndEncoding);
    for value in [
        "gzip",
        "chunked, gzip",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "\"chunked\"",
        "chunked;q=1",
        "identity",
        "",
        ", chunked",
        "chunked\u{b}",
    ] {
        let stream = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n");
        let refusal = feed([stream.as_bytes()]).2;
        assert!(matches!(refusal, Some(Refusal::Encoding | Refusal::Malformed)), "{value:?}: {refusal:?}");
    }
    refuses("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refusal::Encoding);
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(old, 0, Some(Refusal::EncodingVersion));
}

#[test]
fn lines_are_ended_and_built_in_one_way() {
    check("GET / HTTP/1.1\nHost: a\n\n", 0, Some(Refusal::BareLineFeed));
    check("GET / HTTP/1.1\r\nHost: a\n\r\n", 0, Some(Refusal::BareLineFeed));
    check("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Some(Refusal::BareLineFeed));
    check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Some(Refusal::Malformed));
    refuses("X: a\r\n b", Refusal::Folded);
    refuses("X: a\r\n\tb", Refusal::Folded);
    refuses("X : a", Refusal::Malformed);
    refuses("Transfer-Encoding : chunked", Refusal::Malformed);
    refuses("X\t: a", Refusal::Malformed);
    refuses(": a", Refusal::Malformed);
    refuses("X", Refusal::Malformed);
    refuses("X: a\rb", Refusal::Malformed);
    refuses("X: a\0b", Refusal::Malformed);
    refuses("X(: a", Refusal::Malformed);
    check("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 0, Some(Refusal::Folded));
}

#[test]
fn request_lines_are_built_in_one_way() {
    for (line, refusal) in [
        ("GET  / HTTP/1.1", Refusal::Malformed),
        ("GET / HTTP/1.1 ", Refusal::Malformed),
        ("GET / HTTP/2.0", Refusal::Version),
        ("GET / HTTP/1.2", Refusal::Version),
        ("GET /", Refusal::Malformed),
        ("GET / x HTTP/1.1", Refusal::Version),
        ("G@T / HTTP/1.1", Refusal::Malformed),
        ("CONNECT a:80 HTTP/1.1", Refusal::Connect),
    ] {
        let stream = format!("{line}\r\nHost: a\r\n\r\n");
        let said = feed([stream.as_bytes()]).2;
        assert_eq!(said, Some(refusal), "{line:?}");
    }
}

#[test]
fn heads_have_bounds() {
    let fields = |count: usize| "X: y\r\n".repeat(count - 1);
    let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(FIELDS_MAX));
    assert_eq!(feed([most.as_bytes()]).1, 1);
    let more = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(FIELDS_MAX + 1));
    assert_eq!(feed([more.as_bytes()]).2, Some(Refusal::TooManyFields));
    let sized = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "y".repeat(length - start.len() - 4))
    };
    assert_eq!(feed([sized(HEAD_BYTES_MAX).as_bytes()]).1, 1);
    let large = sized(HEAD_BYTES_MAX + 1);
    assert_eq!(feed([large.as_bytes()]).2, Some(Refusal::HeadTooLarge));
    assert_eq!(feed(large.as_bytes().chunks(1000)).2, Some(Refusal::HeadTooLarge));
    // Endless, and never a line's end.
    let endless = vec![b'x'; 2 * HEAD_BYTES_MAX];
    assert_eq!(feed(endless.chunks(999)).2, Some(Refusal::HeadTooLarge));
}

#[test]
fn chunks_are_built_in_one_way() {
    let bodies = [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhellox\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 ;x\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "g\r\n",
        "\r\n",
        ";x\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "5;x\ry\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\n\rX",
    ];
    for body in bodies {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{head}{body}"), 1, Some(Refusal::Chunk));
    }
}

#[test]
fn chunked_extras_have_bounds() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = format!("{head}5;{}\r\nhello\r\n", "x".repeat(5000));
    assert_eq!(feed([extension.as_bytes()]).2, Some(Refusal::Chunk));
    // Spread over many chunks they count together.
    let spread = format!("{head}{}", "1;xxxxxxxxx\r\ny\r\n".repeat(500));
    assert_eq!(feed([spread.as_bytes()]).2, Some(Refusal::Chunk));
    let trailers = format!("{head}0\r\n{}", "X: y\r\n".repeat(65));
    assert_eq!(feed([trailers.as_bytes()]).2, Some(Refusal::Chunk));
    let trailer = format!("{head}0\r\nX: {}", "y".repeat(9000));
    assert_eq!(feed([trailer.as_bytes()]).2, Some(Refusal::Chunk));
}

#[test]
fn nothing_passes_before_an_upgrade_is_decided() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for upgraded in [true, false] {
        let mut guard = Guard::new();
        let mut bytes = head.to_vec();
        bytes.extend_from_slice(b"\x81\x05hello\n\n");
        let verdict = guard.inspect(&bytes);
        assert_eq!(verdict, Verdict { pass: head.len(), refusal: None });
        let early = &bytes[head.len()..];
        assert!(guard.is_switching());
        assert_eq!(guard.inspect(early).pass, 0);
        guard.decide(upgraded);
        let verdict = guard.inspect(early);
        if upgraded {
            assert_eq!(verdict, Verdict { pass: early.len(), refusal: None });
        } else {
            // They are the next request then, and what a request it is.
            assert_eq!(verdict.refusal, Some(Refusal::BareLineFeed));
        }
    }
}

#[test]
fn what_is_no_upgrade_is_framed_as_usual() {
    for lines in [
        "Upgrade: websocket",
        "Connection: upgrade",
        "Connection: upgrade\r\nUpgrade: h2c",
        "Connection: upgrade\r\nUpgrade: websocket, H2C",
        "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b",
    ] {
        passes(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 2);
    }
    let with_body =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi";
    passes(&format!("{with_body}{with_body}"), 2);
    let old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    passes(&format!("{old}{old}"), 2);
}

proptest! {
    /// Whatever comes, in whatever pieces: no panic, the same verdict as at once,
    /// and what passes is a prefix of what came.
    #[test]
    fn pieces_never_make_a_difference(
        stream in stream(),
        cuts in proptest::collection::vec(0..2000_usize, 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let whole = feed([&stream[..]]);
        let pieces = feed(cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]));
        prop_assert!(stream.starts_with(&whole.0));
        prop_assert_eq!((whole.1, whole.2), (pieces.1, pieces.2));
    }
}

/// Streams made of the words that requests are made of, so that most get far.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let words: [&[u8]; 11] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n",
        b"\r\n",
        b"\n",
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"X: y\r\n",
        b"\0\xff",
    ];
    let word = proptest::sample::select(words.to_vec());
    proptest::collection::vec(word, 0..12).prop_map(|words| words.concat())
}
