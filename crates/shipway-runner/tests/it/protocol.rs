//! Clients that are slow, broken or hostile.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;

use crate::harness::{Reader, Which, count_processes, exists, send, unique_seconds, wait_until};

on_both![
    a_broken_chunk_ends_script_and_connection,
    requests_drip_in_and_connections_are_reused,
    scripts_asked_for_at_once_are_answered_in_order,
    a_tcp_socket_does_as_well,
    without_a_listening_socket_it_says_so_and_ends,
];

#[test]
fn a_malformed_request_is_refused_and_the_connection_closed() {
    let runner = Which::Native.script("echo ran >> ran; echo hi").start();
    for (request, status) in [
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("\x16\x03\x01\x02", 400),
    ] {
        let mut stream = runner.connect();
        stream.write_all(request.as_bytes()).unwrap();
        // What follows must not be taken for a request.
        stream.write_all(b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut reader = Reader::new(stream, false);
        let answer = reader.answer();
        assert_eq!(answer.status, status, "{request:?}");
        if !request.starts_with("GET /%") {
            assert!(reader.is_at_end(), "{request:?}");
        }
    }
}

#[test]
fn a_head_without_end_is_refused() {
    let runner = Which::Native.file(b"x").start();
    let mut stream = runner.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    for _ in 0..70 {
        stream.write_all(format!("X: {}\r\n", "a".repeat(1000)).as_bytes()).unwrap();
    }
    assert_eq!(Reader::new(stream, false).answer().status, 431);
}

fn a_broken_chunk_ends_script_and_connection(which: Which) {
    let seconds = unique_seconds(30);
    let runner = which.script(&format!("> started; cat; sleep {seconds}")).start();
    let mut stream = runner.connect();
    send(&mut stream, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked", b"3\r\nabc\r\n");
    wait_until("the script's start", || exists(&runner.folder.path().join("started")));
    stream.write_all(b"x\r\n").unwrap();
    let mut reader = Reader::new(stream, false);
    assert_eq!(reader.answer().status, 400);
    assert!(reader.is_at_end());
    wait_until("the script's end", || count_processes(&seconds) == 0);
}

fn requests_drip_in_and_connections_are_reused(which: Which) {
    let runner = which.script("echo $REQUEST_URI").start();
    let mut stream = runner.connect();
    for at in 0..5 {
        for byte in format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n").bytes() {
            stream.write_all(&[byte]).unwrap();
        }
        let mut reader = Reader::new(stream, false);
        assert_eq!(reader.answer().text(), format!("/{at}\n"));
        stream = reader.stream;
    }
}

fn scripts_asked_for_at_once_are_answered_in_order(which: Which) {
    let runner = which.script("echo $REQUEST_URI").start();
    let mut stream = runner.connect();
    let requests: String = (0..20).map(|at| format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut reader = Reader::new(stream, false);
    for at in 0..20 {
        assert_eq!(reader.answer().text(), format!("/{at}\n"));
    }
}

#[test]
fn more_connections_than_descriptors_are_accepted_later() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    // 32 descriptors, as the smallest service may have.
    let runner = Which::Native.script("echo hi").start_on(folder, listener.into());
    let pid = rustix::process::Pid::from_child(&runner.child);
    let limit = rustix::process::Rlimit { current: Some(32), maximum: Some(32) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).unwrap();
    let mut waiting: Vec<_> = (0..64).map(|_| runner.connect()).collect();
    for stream in &mut waiting {
        send(stream, "GET / HTTP/1.1\nHost: a\nConnection: close", b"");
    }
    for stream in waiting {
        let status = Reader::new(stream, false).answer().status;
        assert!(status == 200 || status == 503, "{status}");
    }
    assert_eq!(runner.get("/").status, 200);
}

fn a_tcp_socket_does_as_well(which: Which) {
    let seconds = unique_seconds(31);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let script =
        format!("[ $PATH_INFO = /sleep ] && exec sleep {seconds}; head -c 100000 /dev/zero; exit ${{QUERY_STRING:-0}}");
    let _runner = which.script(&script).start_on(tempfile::tempdir().unwrap(), listener.into());
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream
    };
    let answer = Reader::new(get("/"), false).answer();
    assert!(answer.is_whole && answer.body.len() == 100_000);
    let failed = Reader::new(get("/?1"), false).answer();
    assert!(which.broke_off(&failed), "{failed:?}");
    let sleeping = get("/sleep");
    wait_until("its start", || count_processes(&seconds) > 0);
    drop(sleeping);
    wait_until("its end", || count_processes(&seconds) == 0);
}

fn without_a_listening_socket_it_says_so_and_ends(which: Which) {
    let folder = tempfile::tempdir().unwrap();
    let pair = std::os::unix::net::UnixStream::pair().unwrap();
    let mut runner = which.file(b"x").stderr(Stdio::piped()).start_on(folder, pair.0.into());
    assert_eq!(runner.wait().code(), Some(1));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut runner.child.stderr.take().unwrap(), &mut text).unwrap();
    assert!(text.contains("no listening socket at descriptor 3"), "{text}");
}
