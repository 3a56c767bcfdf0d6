//! HTTP/2 as no client speaks it: frames by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::*;

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error of a reset or a farewell.
    fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field, spelled out (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).unwrap());
        assert!(text.len() < 127, "one byte of length");
        bytes.extend(text.bytes());
    }
    bytes
}

fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "hello.localhost"), (":path", "/")];

/// A connection whose preface and settings were exchanged.
fn connect(world: &World) -> TcpStream {
    let mut stream = world.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
}

/// The next frame; `None` at the connection's end.
fn next(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
    Some(Frame { kind: head[3], stream, payload })
}

/// Reads until a frame of one of these kinds has come.
fn await_frame(stream: &mut TcpStream, kinds: &[u8]) -> Option<Frame> {
    std::iter::from_fn(|| next(stream)).find(|frame| kinds.contains(&frame.kind))
}

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

/// Sends `bytes` for as long as they are taken, at most `times`.
fn flood(stream: &mut TcpStream, times: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) {
    let mut writer = stream.try_clone().unwrap();
    for n in 0..times {
        if writer.write_all(&bytes(n)).is_err() {
            return;
        }
    }
}

#[track_caller]
fn check_calmed(world: &World, mut visitor: TcpStream) {
    let end = await_frame(&mut visitor, &[GOAWAY]);
    // A reset of the connection may overtake the last word.
    assert!(end.is_none_or(|frame| frame.error() == ENHANCE_YOUR_CALM), "it was not calmed");
    wait_until("the flood is counted", || world.metric("limits_hit_total{limit=\"http2_flood\"}") == 1);
    assert_eq!(body(&world.get("hello.localhost")), "hi");
    wait_until("the connection is gone", || world.metric("open_connections") == 0);
}

#[test]
fn a_rapid_reset_is_calmed() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    let mut visitor = connect(&world);
    let head = fields(&GET);
    flood(&mut visitor, 20_000, |n| {
        let stream = 2 * n + 1;
        let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head);
        pair.extend(frame(RESET, 0, stream, &[0, 0, 0, 8]));
        pair
    });
    check_calmed(&world, visitor);
    assert!(world.is_idle(&origin, LIMIT));
    assert!(origin.connections() < 1000, "{} requests of a flood reached the service", origin.connections());
}

#[test]
fn a_flood_of_continuations_is_calmed() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    let mut visitor = connect(&world);
    visitor.write_all(&frame(HEADERS, END_STREAM, 1, &fields(&GET))).unwrap();
    let more: Vec<u8> = (0..100).flat_map(|n| field(&format!("x-{n}"), &"y".repeat(100))).collect();
    flood(&mut visitor, 20_000, |_| frame(CONTINUATION, 0, 1, &more));
    check_calmed(&world, visitor);
    assert_eq!(origin.seen().len(), 1, "only the test's own request was a request");
}

#[test]
fn the_hundred_and_first_stream_is_refused() {
    let world = World::new();
    let origin = world.origin("hello", |stream, _| {
        read_request(stream);
        read_to_end(stream);
    });
    let mut visitor = connect(&world);
    let settings = await_frame(&mut visitor, &[SETTINGS]).unwrap();
    let announced = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(announced[2..], [0, 0, 0, 100]);
    let head = fields(&GET);
    for n in 0..101 {
        visitor.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &head)).unwrap();
    }
    let refused = await_frame(&mut visitor, &[RESET, GOAWAY]).unwrap();
    assert_eq!((refused.kind, refused.stream, refused.error()), (RESET, 201, REFUSED_STREAM));
    wait_until("a hundred are there", || origin.connections() == 100);
    drop(visitor);
    assert!(world.is_idle(&origin, LIMIT));
}

/// Each is a request that could turn into something else in HTTP/1.
#[test]
fn pseudo_header_tricks_reach_no_service() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    let with = |more: &[(&'static str, &'static str)]| [&GET[..], more].concat();
    let path = |path| [&GET[..3], &[(":path", path)]].concat();
    let authority = |name| [&GET[..2], &[(":authority", name), GET[3]]].concat();
    let tricks = [
        with(&[(":path", "/other")]),
        with(&[(":authority", "other.localhost")]),
        with(&[(":method", "POST")]),
        with(&[(":status", "200")]),
        with(&[(":unknown", "x")]),
        [&[("x", "y")][..], &GET[..]].concat(),
        GET[..3].to_vec(),
        GET[1..].to_vec(),
        path("/ HTTP/1.1\r\nX: y"),
        path("/a b"),
        path("/a\nb"),
        path(""),
        path("*"),
        path("other"),
        path("http://other.localhost/"),
        authority("hello.localhost\r\nX: y"),
        authority("user@hello.localhost"),
        authority("hello.localhost/x"),
        authority("hello.localhost other"),
        authority(""),
        [&[(":method", "GET / HTTP/1.1\r\nX: y")][..], &GET[1..]].concat(),
        [&[(":method", "CONNECT")][..], &GET[1..]].concat(),
        [&[(":method", "TRACE")][..], &GET[1..]].concat(),
        with(&[("X-Upper", "y")]),
        with(&[("x y", "z")]),
        with(&[("x\r\ny", "z")]),
        with(&[("x:", "z")]),
        with(&[("", "z")]),
        with(&[("x", "y\r\nx-smuggled: z")]),
        with(&[("x", "y\nz")]),
        with(&[("x", "y\0z")]),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "websocket")]),
        with(&[("te", "gzip")]),
        with(&[("host", "other.localhost")]),
        with(&[("host", "hello.localhost"), ("host", "hello.localhost")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "x")]),
    ];
    for trick in tricks {
        let mut visitor = connect(&world);
        visitor.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&trick))).unwrap();
        let end = await_frame(&mut visitor, &[HEADERS, RESET, GOAWAY]);
        // An answer is a refusal of ours: no status of the 2xx is among them (RFC 7541 §A: 8 is 200).
        assert!(end.is_none_or(|frame| frame.kind != HEADERS || frame.payload[0] != 0x88), "{trick:?} was served");
        assert_eq!(origin.seen(), Vec::<String>::new(), "{trick:?} reached the service");
    }
    // And what they are made of is good.
    let mut visitor = connect(&world);
    visitor.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(&GET))).unwrap();
    assert_eq!(await_frame(&mut visitor, &[HEADERS, RESET, GOAWAY]).unwrap().payload[0], 0x88);
}
