//! Scripts, and what RFC 3875 promises them and their visitors.

use std::io::Write;

use crate::harness::{Reader, Which, send};

on_both![
    a_script_runs_anew_for_every_request_on_every_path,
    the_first_line_decides_what_runs_it,
    the_environment_is_the_services_and_the_requests,
    what_a_script_says_of_its_output_is_heeded,
    redirects_go_to_the_client_or_to_the_script_itself,
    a_body_of_any_size_goes_through_without_being_held,
    chunked_bodies_are_decoded_and_the_next_request_is_found,
    a_client_that_waits_is_told_to_continue,
    a_script_that_does_not_read_its_input_answers_all_the_same,
    head_runs_the_script_and_drops_its_body,
    old_clients_get_what_they_understand,
    a_long_answer_streams_with_the_length_the_script_gave,
    readiness_does_not_run_the_script_but_knows_what_would,
];

fn a_script_runs_anew_for_every_request_on_every_path(which: Which) {
    let runner = which.script("echo \"$PATH_INFO $QUERY_STRING $REQUEST_METHOD $$\"").start();
    let first = runner.get("/a%20b/c?q=1");
    assert_eq!(first.status, 200);
    assert!(first.text().starts_with("/a b/c q=1 GET "), "{}", first.text());
    assert_eq!(first.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_ne!(runner.get("/a%20b/c?q=1").text(), first.text());
}

fn the_first_line_decides_what_runs_it(which: Which) {
    let python = "#!/usr/bin/python3 -I\r\nimport os, sys\nprint(sys.argv[0], os.getcwd(), sys.flags.isolated)\n";
    let runner = which.script(python).start();
    let folder = runner.folder.path().to_str().unwrap();
    assert_eq!(runner.get("/").text(), format!("{folder}/content {folder} 1\n"));
    let runner = which.script("#!/usr/bin/perl\nprint \"$0\"").start();
    assert_eq!(runner.get("/").text(), runner.content().to_str().unwrap());
}

fn the_environment_is_the_services_and_the_requests(which: Which) {
    let runner = which.script("env; ls /proc/self/fd | tr '\\n' ' '").env("GREETING", "hi there").start();
    let answer = runner.ask_with(
        "POST /p?a=b HTTP/1.1\nHost: s.example:81\nX-Forwarded-For: 192.0.2.9\nX-Forwarded-Proto: https\nProxy: evil\nX_A: evil\nX-A: 1\nContent-Type: a/b\nContent-Length: 2",
        b"hi",
    );
    let text = answer.text();
    for line in [
        "GREETING=hi there",
        "REMOTE_ADDR=192.0.2.9",
        "HTTPS=on",
        "SERVER_NAME=s.example",
        "SERVER_PORT=81",
        "CONTENT_LENGTH=2",
        "CONTENT_TYPE=a/b",
        "HTTP_X_A=1",
        "SCRIPT_NAME=",
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_URI=/p?a=b",
        "SERVER_PROTOCOL=HTTP/1.1",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} is missing: {text}");
    }
    assert!(!text.contains("HTTP_PROXY") && !text.contains("LISTEN_") && !text.contains("evil"));
    assert!(text.ends_with("0 1 2 3 "), "no descriptor of ours is inherited: {text}");
}

fn what_a_script_says_of_its_output_is_heeded(which: Which) {
    let runner = which.script("printf 'Status: 404 Gone fishing\\nContent-Type: text/x\\nX-A: b\\nSet-Cookie: a\\nSet-Cookie: b\\nConnection: close\\n\\nno'").start();
    let answer = runner.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (404, "no"));
    assert_eq!(answer.header("Content-Type"), Some("text/x"));
    assert_eq!(answer.header("X-A"), Some("b"));
    assert_eq!(answer.header("Content-Length"), Some("2"));
    assert_ne!(answer.header("Connection"), Some("close"));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "Set-Cookie").count(), 2);
    let runner = which.script("printf 'Status: 204\\n\\n'").start();
    let answer = runner.get("/");
    assert_eq!((answer.status, answer.header("Content-Length"), answer.header("Content-Type")), (204, None, None));
}

fn redirects_go_to_the_client_or_to_the_script_itself(which: Which) {
    let runner = which.script(
        "case $PATH_INFO in /a) printf 'Location: http://b.c/\\n\\n';; /loop) printf 'Location: /loop\\n\\n';; /l) printf 'Location: /here?x=%%20\\n\\n';; *) echo \"$REQUEST_METHOD $REQUEST_URI $CONTENT_LENGTH\";; esac",
    )
    .start();
    let answer = runner.get("/a");
    assert_eq!((answer.status, answer.header("Location")), (302, Some("http://b.c/")));
    let answer = runner.ask_with("POST /l HTTP/1.1\nHost: a\nContent-Length: 3", b"abc");
    assert_eq!((answer.status, answer.text().as_str()), (200, "GET /here?x=%20 \n"));
    let answer = runner.get("/loop");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("redirected locally more than 5 times"));
}

fn a_body_of_any_size_goes_through_without_being_held(which: Which) {
    let runner = which.script("echo 'Content-Type: application/x'; echo; exec cat").start();
    let body: Vec<u8> = (0_u32..2_000_000).flat_map(u32::to_le_bytes).collect();
    let stream = runner.connect();
    let mut writer = stream.try_clone().unwrap();
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&mut writer, &format!("POST / HTTP/1.1\nHost: a\nContent-Length: {}", body.len()), &body);
        });
        Reader::new(stream, false).answer()
    });
    assert!(answer.is_whole && answer.body == body);
    assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"));
    if which == Which::Nginx {
        return;
    }
    let pid = runner.child.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok()).unwrap();
    assert!(peak < 8 * 1024, "8 MB went through {peak} KiB");
}

fn chunked_bodies_are_decoded_and_the_next_request_is_found(which: Which) {
    let runner = which.script("cat; echo \" [$CONTENT_LENGTH] $HTTP_TRANSFER_ENCODING\"").start();
    let mut stream = runner.connect();
    send(&mut stream, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked", b"");
    for piece in ["4\r\nhel", "l\r\n", "2;x=y\r\no!\r", "\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::yield_now();
    }
    let mut reader = Reader::new(stream, false);
    assert_eq!(reader.answer().text(), "hello! [] \n");
    assert_eq!(reader.answer().text(), " [] \n");
}

fn a_client_that_waits_is_told_to_continue(which: Which) {
    let runner = which.script("cat").start();
    let mut stream = runner.connect();
    send(&mut stream, "POST / HTTP/1.1\nHost: a\nContent-Length: 2\nExpect: 100-continue", b"");
    let mut reader = Reader::new(stream, false);
    assert_eq!(reader.answer().status, 100);
    reader.stream.write_all(b"hi").unwrap();
    assert_eq!(reader.answer().text(), "hi");
}

fn a_script_that_does_not_read_its_input_answers_all_the_same(which: Which) {
    let runner = which.script("echo done").start();
    let body = vec![b'x'; 3 << 20];
    let stream = runner.connect();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            // The runner may stop reading after its answer.
            writer.write_all(&[head.as_bytes(), &body].concat()).ok();
        });
        let answer = Reader::new(stream, false).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "done\n"));
    });
    let mut stream = runner.connect();
    for _ in 0..3 {
        send(&mut stream, "POST / HTTP/1.1\nHost: a\nContent-Length: 3", b"abc");
        let mut reader = Reader::new(stream, false);
        assert_eq!(reader.answer().text(), "done\n");
        stream = reader.stream;
    }
}

fn head_runs_the_script_and_drops_its_body(which: Which) {
    let runner =
        which.script("if [ \"$PATH_INFO\" = /big ]; then yes | head -c 200000; else echo $REQUEST_METHOD; fi").start();
    let mut stream = runner.connect();
    send(&mut stream, "HEAD / HTTP/1.1\nHost: a", b"");
    send(&mut stream, "HEAD /big HTTP/1.1\nHost: a", b"");
    let mut reader = Reader::new(stream, true);
    assert_eq!(reader.answer().header("Content-Length"), Some("5"));
    assert_eq!(reader.answer().status, 200);
    send(&mut reader.stream, "GET / HTTP/1.1\nHost: a", b"");
    let mut reader = Reader::new(reader.stream, false);
    assert_eq!(reader.answer().text(), "GET\n");
}

fn old_clients_get_what_they_understand(which: Which) {
    let runner = which.script("head -c 200000 /dev/zero").start();
    let answer = runner.ask("GET / HTTP/1.0");
    assert_eq!(answer.header("Transfer-Encoding"), None);
    assert_eq!(answer.body.len(), 200_000);
    let runner = which.script("echo hi").start();
    let answer = runner.ask("GET / HTTP/1.0\nConnection: keep-alive");
    assert_eq!(answer.header("Connection"), Some("keep-alive"));
    assert_eq!(answer.header("Content-Length"), Some("3"));
}

fn a_long_answer_streams_with_the_length_the_script_gave(which: Which) {
    let runner = which
        .script("printf 'Content-Type: a/b\\nContent-Length: 200000\\n\\n'; head -c ${QUERY_STRING:-200000} /dev/zero")
        .start();
    let answer = runner.get("/");
    assert_eq!(answer.header("Content-Length"), Some("200000"));
    assert!(answer.is_whole && answer.body.len() == 200_000);
    for wrong in ["199999", "200001"] {
        let answer = runner.get(&format!("/?{wrong}"));
        assert!(which.broke_off(&answer), "{wrong}");
    }
}

fn readiness_does_not_run_the_script_but_knows_what_would(which: Which) {
    let runner = which.script("touch ran").start();
    let probe = "OPTIONS * HTTP/1.1\nHost: a\nshipway-probe: ready";
    assert_eq!(runner.ask(probe).status, 204);
    assert!(!crate::harness::exists(&runner.folder.path().join("ran")));
    let runner = which.script("#!/no/such/python\n").start();
    let answer = runner.ask(probe);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("/no/such/python cannot be executed"), "{}", answer.text());
    let answer = runner.get("/");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("/no/such/python: No such file"), "{}", answer.text());
}
