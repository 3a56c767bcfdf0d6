//! Where nginx differs from the native runner, as docs/dev/runner.md lists it, and what
//! only it has to prove.

use std::io::Write;

use crate::harness::{DIGEST, Reader, Runner, Which, count_processes, exists, send, unique_seconds, wait_until};

/// One request as it is, on a connection of its own.
#[track_caller]
fn raw(runner: &Runner, request: &str) -> u16 {
    let mut stream = runner.connect();
    stream.write_all(request.as_bytes()).unwrap();
    Reader::new(stream, false).answer().status
}

#[test]
fn its_parser_is_its_own() {
    let runner = Which::Nginx.script("echo \"[$PATH_INFO]\"").start();
    for (request, status) in [
        // The same as the native runner.
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("\x16\x03\x01\x02\r\n\r\n", 400),
        // Its own.
        ("GET / HTTP/1.1\nHost: a\n\n", 200),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET /../a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        assert_eq!(raw(&runner, request), status, "{request:?}");
    }
    // What it passes on, it passes on as it came.
    assert_eq!(runner.get("//a/./b%2F").text(), "[//a/./b/]\n");
    let native = Which::Native.script("echo \"[$PATH_INFO]\"").start();
    assert_eq!(native.get("/../a").text(), "[/../a]\n");
}

#[test]
fn a_head_that_is_too_large_is_a_400() {
    let runner = Which::Nginx.file(b"x").start();
    let mut stream = runner.connect();
    let line = format!("X: {}\r\n", "a".repeat(70_000));
    // It answers before it has read everything.
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n").as_bytes()).ok();
    assert_eq!(Reader::new(stream, false).answer().status, 400);
}

#[test]
fn it_says_who_it_is_and_closes_after_a_probe() {
    let runner = Which::Nginx.file(b"x").start();
    let answer = runner.get("/");
    assert_eq!((answer.header("Server"), answer.header("Connection")), (Some("nginx"), Some("keep-alive")));
    let mut stream = runner.connect();
    send(&mut stream, "OPTIONS * HTTP/1.1\nHost: a\nshipway-probe: ready", b"");
    let mut reader = Reader::new(stream, false);
    let answer = reader.answer();
    assert_eq!((answer.status, answer.header("Connection")), (204, Some("close")));
    assert!(reader.is_at_end());
}

#[test]
fn the_tag_is_no_use_in_if_match() {
    let tag = format!("GET / HTTP/1.1\nHost: a\nIf-Match: \"{DIGEST}\"");
    let runner = Which::Nginx.file(b"x").start();
    assert_eq!(runner.ask(&tag).status, 412);
    assert_eq!(runner.ask("GET / HTTP/1.1\nHost: a\nIf-Match: *").status, 200);
    assert_eq!(Which::Native.file(b"x").start().ask(&tag).status, 200);
}

#[test]
fn readiness_is_looked_at_once() {
    let probe = "OPTIONS * HTTP/1.1\nHost: a\nshipway-probe: ready";
    let runner = Which::Nginx.file(b"x").start();
    assert_eq!(runner.ask(probe).status, 204);
    std::fs::remove_file(runner.content()).unwrap();
    assert_eq!((runner.ask(probe).status, runner.get("/").status), (204, 404));
    // What is not there at the start is told, with what would be variables left alone.
    let runner = Which::Nginx.script("#!/no/$uri/\"such\n").start();
    let answer = runner.ask(probe);
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("/no/$uri/\"such cannot be executed here"), "{}", answer.text());
}

#[test]
fn a_script_gives_no_orders_to_nginx() {
    let script = "printf 'X-Accel-Redirect: /etc/passwd\\nX-Accel-Limit-Rate: 1\\nContent-Type: a/b\\n\\nown'";
    let answer = Which::Nginx.script(script).start().get("/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "own"));
    assert_eq!(answer.header("X-Accel-Redirect"), Some("/etc/passwd"), "a header like any other");
}

#[test]
fn a_script_that_ends_its_wrapper_is_a_502_and_leaves_nothing() {
    let seconds = unique_seconds(40);
    let script = format!(
        "case $PATH_INFO in /kill) setsid sleep {seconds} & sleep {seconds} & kill -9 $PPID; sleep {seconds};; *) echo fine;; esac"
    );
    let runner = Which::Nginx.script(&script).with("--concurrency", "1").start();
    for _ in 0..3 {
        let answer = runner.get("/kill");
        assert_eq!((answer.status, answer.header("Content-Type").is_some()), (502, true), "{}", answer.text());
        wait_until("the end of what it left", || count_processes(&seconds) == 0);
        assert_eq!(runner.get("/").text(), "fine\n");
    }
}

#[test]
fn a_script_that_stops_fcgiwrap_does_not_stop_the_service() {
    let script =
        "if [ $PATH_INFO = /stop ]; then read -r _ _ _ parent _ < /proc/$PPID/stat; kill -STOP $parent; fi; echo fine";
    let runner = Which::Nginx.script(script).with("--concurrency", "1").start();
    for _ in 0..3 {
        let answer = runner.get("/stop");
        assert_eq!((answer.status, answer.text().as_str()), (502, "the script ended without an answer\n"));
        assert_eq!(runner.get("/").text(), "fine\n");
    }
}

#[test]
fn who_waits_for_a_seat_and_hangs_up_starts_nothing() {
    let runner = Which::Nginx
        .script("> $QUERY_STRING; until [ -e go ]; do sleep 0.01; done; echo $QUERY_STRING")
        .with("--concurrency", "1")
        .start();
    let mut first = runner.connect();
    send(&mut first, "GET /?first HTTP/1.1\nHost: a", b"");
    let there = |name: &str| exists(&runner.folder.path().join(name));
    wait_until("the first", || there("first"));
    let mut second = runner.connect();
    send(&mut second, "GET /?second HTTP/1.1\nHost: a", b"");
    // Its turn in nginx's loop is over when a later question is answered.
    assert_eq!(runner.ask("OPTIONS * HTTP/1.1\nHost: a").status, 204);
    drop(second);
    let mut third = runner.connect();
    send(&mut third, "GET /?third HTTP/1.1\nHost: a", b"");
    std::fs::File::create(runner.folder.path().join("go")).unwrap();
    assert_eq!(Reader::new(first, false).answer().text(), "first\n");
    assert_eq!(Reader::new(third, false).answer().text(), "third\n");
    assert!(!there("second"));
}

#[test]
fn the_first_process_of_a_container_starts_and_ends_everything() {
    let seconds = unique_seconds(41);
    let script = format!("(env -i /usr/bin/setsid /bin/sleep {seconds} > /dev/null 2>&1 &)\necho $(cat /proc/1/comm)");
    let mut runner = Which::Nginx.script(&script).first_process().start();
    for _ in 0..3 {
        assert_eq!(runner.get("/").text(), "shipway-runner\n");
        wait_until("the daemon's end", || count_processes(&seconds) == 0);
    }
    let first = crate::harness::child_of(runner.child.id());
    let pid = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(runner.wait().code(), Some(0));
    let home = runner.folder.path().join("home");
    assert_eq!(count_processes(home.to_str().unwrap()), 0, "nginx and fcgiwrap are gone");
}

#[test]
fn what_it_is_told_wrongly_is_named() {
    for (name, value, says) in [
        ("SHIPWAY_TIMEOUT_MS", "soon", "SHIPWAY_TIMEOUT_MS must be a number"),
        ("SHIPWAY_KIND", "cgi", "SHIPWAY_KIND must be `static` or `script`"),
        ("SHIPWAY_HOME", "relative", "SHIPWAY_HOME must be an absolute path"),
    ] {
        let mut runner = Which::Nginx.file(b"x").at_last(name, value).start();
        assert_eq!(runner.wait().code(), Some(1));
        assert!(runner.log().contains(says), "{}", runner.log());
    }
}
