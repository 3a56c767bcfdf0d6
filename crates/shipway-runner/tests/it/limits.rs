//! Scripts that fail, flood, hang, or are too many.

use std::io::Read;
use std::process::Stdio;

use crate::harness::{Reader, Setup, Which, count_processes, exists, send, unique_seconds, wait_until};

on_both![
    a_script_that_fails_is_a_502_that_says_how,
    what_a_script_says_to_its_stderr_is_in_the_log_only,
    a_script_that_never_answers_is_ended_though_it_ignores_signals,
    a_script_that_floods_is_ended,
    a_failure_after_the_answer_began_breaks_it_off,
    a_flood_on_stderr_stops_nobody,
    who_hangs_up_ends_the_script,
    who_reads_slowly_stops_the_script_that_prints,
    seats_are_limited_and_so_is_the_queue,
    who_waits_too_long_for_a_seat_is_told_so,
    scripts_run_side_by_side,
    asked_to_stop_it_finishes_what_is_in_flight,
];

#[track_caller]
fn check_failure(setup: Setup, message: &str) {
    let runner = setup.start();
    let answer = runner.get("/x");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.text(), format!("{message}\n"));
    wait_until("a line in the log", || runner.log().contains(&format!("GET /x: {message}")));
}

fn a_script_that_fails_is_a_502_that_says_how(which: Which) {
    check_failure(which.script("echo fine; echo secret >&2; exit 3"), "the script failed: exit status 3");
    check_failure(which.script("kill -SEGV $$"), "the script was killed by signal 11");
    check_failure(which.script("kill -KILL $$"), "the script was killed by signal 9, most likely at the memory limit");
}

fn what_a_script_says_to_its_stderr_is_in_the_log_only(which: Which) {
    let runner = which.script("echo out; echo err >&2; printf part >&2").start();
    assert_eq!(runner.get("/").text(), "out\n");
    wait_until("two lines in the log", || runner.log().ends_with("err\npart\n"));
}

fn a_script_that_never_answers_is_ended_though_it_ignores_signals(which: Which) {
    let seconds = unique_seconds(1);
    let script = format!("trap '' TERM INT HUP; sleep {seconds}; sleep {seconds}");
    check_failure(which.script(&script).with("--timeout-ms", "200"), "the script took longer than its limit of 200 ms");
    wait_until("its end", || count_processes(&seconds) == 0);
}

fn a_script_that_floods_is_ended(which: Which) {
    check_failure(
        which.script("yes").with("--output-bytes", "50000"),
        "the script printed more than its limit of 50000 bytes",
    );
    // Once its answer has begun it can only be broken off.
    let runner = which.script("exec yes").with("--output-bytes", "1000000").start();
    let answer = runner.get("/");
    assert!(which.broke_off(&answer) && answer.body.len() <= 1_000_000);
}

fn a_failure_after_the_answer_began_breaks_it_off(which: Which) {
    let runner = which.script("head -c 100000 /dev/zero; exit 1").start();
    let answer = runner.get("/");
    assert!(which.broke_off(&answer));
}

fn a_flood_on_stderr_stops_nobody(which: Which) {
    // Nobody reads the log.
    let mut runner = which
        .script("if [ \"$PATH_INFO\" = /flood ]; then yes >&2; else echo hi; fi")
        .with("--timeout-ms", "2000")
        .stderr(Stdio::piped())
        .start();
    let mut flood = runner.connect();
    send(&mut flood, "GET /flood HTTP/1.1\nHost: a", b"");
    for _ in 0..20 {
        assert_eq!(runner.get("/").text(), "hi\n");
    }
    let answer = Reader::new(flood, false).answer();
    assert_eq!(answer.status, 502, "{}", answer.text());
    // And while somebody reads it, it flows: more than all buffers together hold.
    let mut flood = runner.connect();
    send(&mut flood, "GET /flood HTTP/1.1\nHost: a", b"");
    let mut log = runner.child.stderr.take().unwrap();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&seen);
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0; 65_536];
        while let Ok(count @ 1..) = log.read(&mut piece) {
            counter.fetch_add(count, std::sync::atomic::Ordering::SeqCst);
        }
    });
    wait_until("a megabyte of log", || seen.load(std::sync::atomic::Ordering::SeqCst) > 1 << 20);
    drop((flood, runner));
    reader.join().unwrap();
}

fn who_hangs_up_ends_the_script(which: Which) {
    let seconds = unique_seconds(2);
    let runner = which.script(&format!("touch started; sleep {seconds}")).start();
    let mut stream = runner.connect();
    send(&mut stream, "GET / HTTP/1.1\nHost: a", b"");
    wait_until("its start", || count_processes(&seconds) > 0);
    drop(stream);
    wait_until("its end", || count_processes(&seconds) == 0);
    // Also in the middle of a body.
    let mut stream = runner.connect();
    send(&mut stream, "POST / HTTP/1.1\nHost: a\nContent-Length: 10", b"abc");
    wait_until("its start", || count_processes(&seconds) > 0);
    drop(stream);
    wait_until("its end", || count_processes(&seconds) == 0);
}

fn who_reads_slowly_stops_the_script_that_prints(which: Which) {
    let runner = which.script("trap 'touch ended' EXIT; head -c 20000000 /dev/zero; touch printed").start();
    let mut stream = runner.connect();
    send(&mut stream, "GET / HTTP/1.1\nHost: a", b"");
    let mut reader = Reader::new(stream, false);
    let mut first = [0; 1];
    reader.stream.read_exact(&mut first).unwrap();
    // 20 MB cannot be anywhere but in front of the script's pipe.
    for _ in 0..20 {
        assert_eq!(runner.ask("OPTIONS * HTTP/1.1\nHost: a").status, 204);
    }
    assert!(!exists(&runner.folder.path().join("printed")));
    let mut total = 1;
    let mut piece = vec![0; 1 << 20];
    while !exists(&runner.folder.path().join("printed")) {
        total += reader.stream.read(&mut piece).unwrap();
    }
    assert!(total > 19_000_000);
}

fn seats_are_limited_and_so_is_the_queue(which: Which) {
    let runner = which.script("read go < fifo; echo $go").with("--concurrency", "1").start();
    let fifo = runner.folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let mut streams: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = runner.connect();
            send(&mut stream, "GET / HTTP/1.1\nHost: a", b"");
            // Its turn in the loop is over when a later question is answered.
            assert_eq!(runner.ask("OPTIONS * HTTP/1.1\nHost: a").status, 204);
            stream
        })
        .collect();
    // One works, four wait, the sixth is told to come back.
    let refused = Reader::new(streams.pop().unwrap(), false).answer();
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    // One gives up; the others get their turn in order.
    drop(streams.remove(2));
    for (at, stream) in streams.into_iter().enumerate() {
        std::io::Write::write_all(&mut std::fs::File::create(&fifo).unwrap(), format!("{at}\n").as_bytes()).unwrap();
        assert_eq!(Reader::new(stream, false).answer().text(), format!("{at}\n"));
    }
}

fn who_waits_too_long_for_a_seat_is_told_so(which: Which) {
    let runner = which.script("sleep 100").with("--concurrency", "1").with("--timeout-ms", "400").start();
    let mut first = runner.connect();
    send(&mut first, "GET / HTTP/1.1\nHost: a", b"");
    assert_eq!(runner.ask("OPTIONS * HTTP/1.1\nHost: a").status, 204);
    let answer = runner.get("/");
    assert!(answer.status == 503 || answer.status == 502, "{}", answer.text());
    assert_eq!(Reader::new(first, false).answer().status, 502);
}

fn scripts_run_side_by_side(which: Which) {
    // Each waits for the other.
    let runner =
        which.script("touch $QUERY_STRING; until [ -e a ] && [ -e b ]; do sleep 0.01; done; echo both").start();
    let mut streams = ["a", "b"].map(|name| {
        let mut stream = runner.connect();
        send(&mut stream, &format!("GET /?{name} HTTP/1.1\nHost: a"), b"");
        stream
    });
    for stream in &mut streams {
        assert_eq!(Reader::new(stream, false).answer().text(), "both\n");
    }
}

fn asked_to_stop_it_finishes_what_is_in_flight(which: Which) {
    let mut runner = which.script("touch started; until [ -e go ]; do sleep 0.01; done; echo finished").start();
    let idle = runner.connect();
    let mut stream = runner.connect();
    send(&mut stream, "GET / HTTP/1.1\nHost: a", b"");
    wait_until("the script's start", || exists(&runner.folder.path().join("started")));
    runner.terminate();
    assert!(Reader::new(idle, false).is_at_end());
    wait_until("refusal of newcomers", || {
        std::os::unix::net::UnixStream::connect(runner.folder.path().join("s")).is_err()
    });
    std::fs::File::create(runner.folder.path().join("go")).unwrap();
    let answer = Reader::new(stream, false).answer();
    assert_eq!((answer.text().as_str(), answer.header("Connection")), ("finished\n", Some("close")));
    assert_eq!(runner.wait().code(), Some(0));
}
