//! What a script leaves behind dies with its request.

use crate::harness::{Reader, Which, child_of, count_processes, exists, send, unique_seconds, wait_until};

on_both![
    a_background_child_that_holds_the_output_open,
    an_orphan_in_the_same_session,
    a_daemon_with_a_session_of_its_own,
    a_daemon_that_wiped_its_environment,
    a_family_of_daemons_that_ignore_signals,
    a_daemon_started_by_python,
    a_daemon_lives_while_its_own_request_does_and_no_longer,
    a_fork_bomb_ends_with_its_request,
    no_zombie_stays,
];

/// Runs a script that leaves a `sleep` of `$S` seconds behind in some way, and
/// checks that it was there and is gone.
#[track_caller]
fn check_gone(which: Which, salt: u32, script: &str) {
    let seconds = unique_seconds(salt);
    // The answer is given only once we have seen the sleeper.
    let script = format!("S={seconds}\n{script}\nuntil [ -e seen ]; do sleep 0.01; done; rm seen; echo done");
    let runner = which.script(&script).start();
    for _ in 0..2 {
        let mut stream = runner.connect();
        send(&mut stream, "GET / HTTP/1.1\nHost: a", b"");
        wait_until("the sleeper", || count_sleepers(&seconds) > 0);
        std::fs::File::create(runner.folder.path().join("seen")).unwrap();
        let answer = Reader::new(stream, false).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "done\n"));
        wait_until("its end", || count_sleepers(&seconds) == 0);
    }
}

/// How many processes sleep for so long: those that run `sleep`, not those that
/// are about to.
fn count_sleepers(seconds: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.strip_suffix('\0').is_some_and(|line| line.ends_with(&format!("sleep\0{seconds}"))))
        .filter(|line| !line.starts_with("setsid") && !line.contains("setsid\0"))
        .count()
}

fn a_background_child_that_holds_the_output_open(which: Which) {
    check_gone(which, 10, "sleep $S &");
}

fn an_orphan_in_the_same_session(which: Which) {
    check_gone(which, 11, "(sleep $S > /dev/null 2>&1 &)");
}

fn a_daemon_with_a_session_of_its_own(which: Which) {
    check_gone(which, 12, "(setsid sleep $S > /dev/null 2>&1 &)");
}

fn a_daemon_that_wiped_its_environment(which: Which) {
    // Not in a subshell: an orphan without a mark may be killed before it has begun to sleep.
    check_gone(which, 13, "env -i /usr/bin/setsid /bin/sh -c \"sleep $S & sleep $S\" > /dev/null 2>&1 &");
}

fn a_family_of_daemons_that_ignore_signals(which: Which) {
    check_gone(
        which,
        14,
        "for i in 1 2 3 4 5; do (setsid sh -c \"trap '' TERM HUP INT; setsid sleep $S & sleep $S\" > /dev/null 2>&1 &); done",
    );
}

fn a_daemon_started_by_python(which: Which) {
    let seconds = unique_seconds(15);
    let script = format!(
        "#!/usr/bin/python3\nimport os, time\nr, w = os.pipe()\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    os.write(w, b'x')\n    os.execvp('sleep', ['sleep', '{seconds}'])\n  os._exit(0)\nos.read(r, 1)\nprint('done')\n"
    );
    let runner = which.script(&script).start();
    assert_eq!(runner.get("/").text(), "done\n");
    wait_until("its end", || count_processes(&seconds) == 0);
}

fn a_daemon_lives_while_its_own_request_does_and_no_longer(which: Which) {
    let (mine, yours) = (unique_seconds(16), unique_seconds(17));
    // /slow starts a daemon and stays; /quick starts one that hides where it comes from,
    // and stands alone once the script has ended.
    let script = format!(
        "case $PATH_INFO in\n/slow) setsid -f sleep {mine}; touch started; until [ -e go ]; do sleep 0.01; done; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep {mine}';;\n/quick) env -i /usr/bin/setsid /bin/sh -c '> born; exec /bin/sleep {yours}' & until [ -e seen ]; do sleep 0.01; done; rm seen; echo quick;; esac"
    );
    let runner = which.script(&script).start();
    let mut slow = runner.connect();
    send(&mut slow, "GET /slow HTTP/1.1\nHost: a", b"");
    wait_until("the daemon", || exists(&runner.folder.path().join("started")));
    for _ in 0..3 {
        let mut quick = runner.connect();
        send(&mut quick, "GET /quick HTTP/1.1\nHost: a", b"");
        let born = runner.folder.path().join("born");
        wait_until("the stranger", || exists(&born));
        std::fs::remove_file(born).unwrap();
        std::fs::File::create(runner.folder.path().join("seen")).unwrap();
        assert_eq!(Reader::new(quick, false).answer().text(), "quick\n");
        wait_until("the stranger's end", || count_sleepers(&yours) == 0);
    }
    // The other request goes on, so these die by judgement, not for want of a request.
    wait_until("the end of the strangers", || count_sleepers(&yours) == 0);
    assert!(count_sleepers(&mine) > 0);
    std::fs::File::create(runner.folder.path().join("go")).unwrap();
    assert_eq!(Reader::new(slow, false).answer().text(), "1\n");
    wait_until("the daemon's end", || count_sleepers(&mine) == 0);
}

fn a_fork_bomb_ends_with_its_request(which: Which) {
    let word = unique_seconds(18);
    // Bounded, because a test's machine has no limit on processes for it.
    let script = format!(
        "bomb() {{ [ $1 -gt 0 ] || exec sleep {word}; bomb $(($1 - 1)) & bomb $(($1 - 1)) & wait; }}\nif [ $PATH_INFO = /bomb ]; then bomb 6; else echo fine; fi"
    );
    let runner = which.script(&script).with("--timeout-ms", "1000").start();
    let mut bomb = runner.connect();
    send(&mut bomb, "GET /bomb HTTP/1.1\nHost: a", b"");
    wait_until("the bomb", || count_processes(&word) > 8);
    assert_eq!(runner.get("/").text(), "fine\n");
    assert_eq!(Reader::new(bomb, false).answer().status, 502);
    wait_until("its end", || count_processes(&word) == 0);
    assert_eq!(runner.get("/").text(), "fine\n");
}

#[test]
fn the_first_process_of_a_container_does_the_same() {
    let seconds = unique_seconds(19);
    let script = format!("(env -i /usr/bin/setsid /bin/sleep {seconds} > /dev/null 2>&1 &)\necho $PPID");
    let mut runner = Which::Native.script(&script).first_process().start();
    for _ in 0..3 {
        assert_eq!(runner.get("/").text(), "1\n", "the script's parent is the first process");
        wait_until("the daemon's end", || count_sleepers(&seconds) == 0);
    }
    // The first process ignores signals it has not asked for; this one it has.
    let first = child_of(runner.child.id());
    let pid = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(runner.wait().code(), Some(0));
}

fn no_zombie_stays(which: Which) {
    let runner = which.script("for i in 1 2 3; do (true &) ; done; (sleep 0 &) ; echo done").start();
    for _ in 0..20 {
        assert_eq!(runner.get("/").text(), "done\n");
    }
    let own = runner.child.id().to_string();
    wait_until("no zombie", || {
        std::fs::read_dir("/proc").unwrap().all(|entry| {
            let stat = std::fs::read_to_string(entry.unwrap().path().join("stat")).unwrap_or_default();
            let after = stat.rsplit(')').next().unwrap_or_default().to_owned();
            let mut fields = after.split_ascii_whitespace();
            let state = fields.next();
            state != Some("Z") || fields.next() != Some(own.as_str())
        })
    });
}
