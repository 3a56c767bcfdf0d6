use super::*;

fn troubles(refused: Option<&str>, unavailable: Option<&str>) -> Troubles {
    Troubles { refused: refused.map(str::to_owned), unavailable: unavailable.map(str::to_owned), ..Troubles::default() }
}

#[track_caller]
fn check(phase: Phase, end: End, tail: &str, troubles: &Troubles, expected: FailureKind) -> Failure {
    let tail: Vec<String> = tail.lines().map(str::to_owned).collect();
    let step = if phase == Phase::Download { StepName::PinVersions } else { StepName::Compile };
    let failure = judge(&Outcome { step, phase, end, tail: &tail, troubles });
    assert_eq!(failure.kind, expected, "{failure:?}");
    failure
}

const FAILED: End = End::Exited(1);

#[test]
fn the_compilers_lines_are_kept() {
    let tail = "# x.test/broken\n/go/mod/x.test/broken@v1.0.0/a.go:5:2: undefined: nothing";
    let failure = check(Phase::Build, FAILED, tail, &Troubles::default(), FailureKind::Compile);
    assert_eq!(failure.lines.len(), 2);
    assert!(!failure.kind.is_transient());
    let many = "line\n".repeat(1000);
    assert_eq!(check(Phase::Build, FAILED, &many, &Troubles::default(), FailureKind::Compile).lines.len(), LINES_MAX);
}

#[test]
fn proxies_that_refuse_and_proxies_in_trouble_are_told_apart() {
    let tail = "go: x.test/a@v1.0.0: reading http://127.0.0.1:4000/x.test/a/@v/v1.0.0.info: 403 Forbidden";
    let refused = check(Phase::Download, FAILED, tail, &troubles(Some("not here"), None), FailureKind::Refused);
    assert_eq!((refused.message.as_str(), refused.kind.is_transient()), ("not here", false));
    let away = check(Phase::Download, FAILED, tail, &troubles(None, Some("away")), FailureKind::Proxy);
    assert!(away.kind.is_transient());
    let absent = "go: downloading y v1\ngo: module x.test/a: no matching versions for query \"v9\"\nother";
    let absent = check(Phase::Download, FAILED, absent, &Troubles::default(), FailureKind::Modules);
    assert_eq!(absent.message, "go: module x.test/a: no matching versions for query \"v9\"");
}

#[test]
fn a_checksum_counts_more_than_what_else_went_wrong() {
    let tail = "verifying x.test/a@v1.0.0: checksum mismatch\n\tdownloaded: h1:a\n\tgo.sum: h1:b\n\nSECURITY ERROR";
    check(Phase::Download, FAILED, tail, &troubles(None, Some("away")), FailureKind::Checksum);
    // The database not reached is no mismatch.
    let away = "verifying x.test/a@v1.0.0: reading http://127.0.0.1:4000/sumdb/sum.test/lookup/x: 502 Bad Gateway";
    check(Phase::Download, FAILED, away, &troubles(None, Some("away")), FailureKind::Proxy);
}

#[test]
fn a_newer_go_is_said_to_be_wanted() {
    let tail = "go: x.test/new@v1.0.0 requires go >= 1.99.0 (running go 1.26.8; GOTOOLCHAIN=local)";
    let failure = check(Phase::Download, FAILED, tail, &Troubles::default(), FailureKind::Toolchain);
    assert_eq!(failure.message, "x.test/new@v1.0.0 requires go >= 1.99.0 (running go 1.26.8; GOTOOLCHAIN=local)");
}

#[test]
fn limits_have_their_own_words_whatever_was_said() {
    let tail = "compile: signal: killed";
    check(Phase::Build, End::OutOfMemory, tail, &Troubles::default(), FailureKind::OutOfMemory);
    let tail = "example.com/table: /usr/local/go/pkg/tool/linux_amd64/compile: signal: killed";
    check(Phase::Build, FAILED, tail, &Troubles::default(), FailureKind::OutOfMemory);
    check(Phase::Build, End::Deadline, tail, &Troubles::default(), FailureKind::Deadline);
    let full = "write /go/out/caddy: no space left on device";
    check(Phase::Build, FAILED, full, &Troubles::default(), FailureKind::DiskFull);
    let lost = check(Phase::Build, End::Lost, "", &Troubles::default(), FailureKind::Sandbox);
    assert!(lost.kind.is_transient());
}
