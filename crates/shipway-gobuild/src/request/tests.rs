use super::*;
use crate::recipe::Recipe;

/// Reads `version; plugins; replacements`, the last two separated by spaces.
#[track_caller]
fn check(given: &str, expected: &str) {
    let request = read(given);
    let shown = match request {
        Ok(request) => serde_json::to_string(&(request.version, request.plugins, request.replacements)).unwrap(),
        Err(error) => error.to_string(),
    };
    let shown = shown.replace('"', "'");
    assert_eq!(shown, expected, "given: {given}");
}

fn read(given: &str) -> Result<Request, RequestError> {
    let parts: Vec<&str> = given.split(';').collect();
    let words = |at: usize| parts.get(at).map_or("", |part| part).split(' ').filter(|word| !word.is_empty());
    let malformed = |source| RequestError::Malformed { item: parts[0].to_owned(), source };
    Request::new(
        &Recipe::caddy(),
        Query::parse(parts[0]).map_err(malformed)?,
        words(1).map(parse_plugin).collect::<Result<_, _>>()?,
        words(2).map(parse_replacement).collect::<Result<_, _>>()?,
        Platform::parse("linux", "amd64", None)?,
        3,
    )
}

#[test]
fn words_are_sorted_and_said_once() {
    check("", "['latest',[],[]]");
    check(
        "v2.9.1;x.com/b@v1.0.0 x.com/a x.com/b@v1.0.0",
        "['v2.9.1',[{'package':'x.com/a','version':'latest'},{'package':'x.com/b','version':'v1.0.0'}],[]]",
    );
    check(
        ";;x.com/b=x.com/c@v1.0.0 x.com/b@v1.2.3=x.com/d@main",
        "['latest',[],[{'old':'x.com/b','new':'x.com/c','version':'v1.0.0'},\
         {'old':'x.com/b','old_version':'v1.2.3','new':'x.com/d','version':'main'}]]",
    );
}

#[test]
fn the_version_may_be_asked_for_as_a_plugin() {
    check(";github.com/caddyserver/caddy/v2@v2.9.1", "['v2.9.1',[],[]]");
    check("v2.9.1;github.com/caddyserver/caddy/v2", "['v2.9.1',[],[]]");
    check(
        "v2.9.0;github.com/caddyserver/caddy/v2@v2.9.1",
        "github.com/caddyserver/caddy/v2 is asked for twice, and differently: v2.9.0 and v2.9.1",
    );
    check(
        ";github.com/caddyserver/caddy/v2/modules/logging@v2.9.1",
        "['latest',[{'package':'github.com/caddyserver/caddy/v2/modules/logging','version':'v2.9.1'}],[]]",
    );
}

#[test]
fn contradictions_are_named() {
    check(";x.com/a@v1.0.0 x.com/a@v1.1.0", "x.com/a is asked for twice, and differently: v1.0.0 and v1.1.0");
    check(
        ";;x.com/a=x.com/b@v1.0.0 x.com/a=x.com/c@v1.0.0",
        "x.com/a is asked for twice, and differently: x.com/b@v1.0.0 and x.com/c@v1.0.0",
    );
    check(";x.com/a x.com/b x.com/c x.com/d", "4 plugins are too many: at most 3");
}

#[test]
fn what_could_leave_its_place_is_refused() {
    let path = |item: &str, given: &str, reason: &str| format!("'{item}': malformed import path '{given}': {reason}");
    check(";../a", &path("../a", "../a", "local paths are not accepted"));
    check(";/etc/passwd@v1.0.0", &path("/etc/passwd@v1.0.0", "/etc/passwd", "local paths are not accepted"));
    check(";-modfile=x@v1.0.0", &path("-modfile=x@v1.0.0", "-modfile=x", "it begins with a dash"));
    check(";x.com/../a", &path("x.com/../a", "x.com/../a", "an element is only dots"));
    check(";fmt", &path("fmt", "fmt", "its first element has no dot, so it is no domain name"));
    assert!(parse_plugin("x.com/a\n_ \"os\"@v1.0.0").is_err());
    assert!(parse_plugin("x.com/a\"@v1.0.0").is_err());
    assert!(parse_plugin("x.com/a@v1.0.0@v1.1.0").is_err(), "cut at the last @, what is left is no path");
    assert!(parse_plugin("x.com/a@").is_err());
    assert!(parse_plugin("x.com/a@-rf").is_err());
    assert!(parse_plugin("x.com/a@feature/x").is_err());
    assert!(parse_plugin("x.com/a@..").is_err());
    assert!(parse_plugin(&format!("x.com/{}", "a".repeat(10_000))).is_err());
}

#[test]
fn a_replacement_is_by_a_module_at_a_version() {
    for (given, reason) in [
        ("x.com/a", "there is no ="),
        ("x.com/a=x.com/b", "the new module has no version"),
        ("x.com/a=x.com/b@", "the new module has no version"),
        ("x.com/a=../b@v1.0.0", "local paths"),
        ("x.com/a=/b@v1.0.0", "local paths"),
        ("x.com/a@main=x.com/b@v1.0.0", "not a semantic version"),
    ] {
        let error = parse_replacement(given).unwrap_err().to_string();
        assert!(error.contains(reason), "{given}: {error}");
    }
}

#[test]
fn a_query_is_what_it_looks_like() {
    let kind = |text: &str| Query::parse(text).map(|query| format!("{query:?}")).unwrap_or_default();
    assert_eq!(kind("v1.2.3+meta"), kind("v1.2.3"));
    assert!(kind("v1.2.3").starts_with("Exact"));
    assert!(kind("v2.0.0+incompatible").contains("+incompatible"));
    assert!(kind("v1").starts_with("Prefix") && kind("v1.2").starts_with("Prefix"));
    assert!(kind("main").starts_with("Revision") && kind("1.2.3").starts_with("Revision"));
    assert!(kind("v1.2.3.4").starts_with("Revision"), "two dots and more are not proof of a version");
    assert_eq!(kind("upgrade"), "");
    assert_eq!(kind("<v1.2.3"), "");
    assert_eq!(kind("v1 && id"), "");
}

#[test]
fn parts_that_come_apart_are_checked_alike() {
    assert_eq!(Plugin::new("x.com/a", Some("v1.0.0")), parse_plugin("x.com/a@v1.0.0"));
    assert_eq!(Plugin::new("x.com/a", None), parse_plugin("x.com/a"));
    assert_eq!(Plugin::new("x.com/a", Some("")), parse_plugin("x.com/a"));
    assert!(Plugin::new("x.com/a@v1.0.0", Some("v1.0.0")).is_err());
    assert!(Plugin::new("x.com/a", Some("v1.0.0\n")).is_err());
    assert_eq!(Replacement::new("x.com/a@v1.0.0", "x.com/b", "main"), parse_replacement("x.com/a@v1.0.0=x.com/b@main"));
    assert!(Replacement::new("x.com/a", "x.com/b", "").is_err());
    assert!(Replacement::new("x.com/a", "../b", "v1.0.0").is_err());
}
