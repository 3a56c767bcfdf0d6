mod old;

use super::*;
use std::path::Path;

fn sources(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Sources {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Sources { flags: flags.iter().map(own).collect(), file: None, environment: environment.iter().map(own).collect() }
}

#[track_caller]
fn refused(sources: &Sources, says: &str) {
    let error = load(sources).expect_err("it should be refused").to_string();
    assert!(error.contains(says), "{error:?} does not say {says:?}");
}

fn with_file(text: &str, test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    shipway_stdx::fs::write_atomic(&path, text.as_bytes(), 0o600, shipway_stdx::fs::Durability::Process).unwrap();
    test(&path);
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    with_file("host: file.example\nlog:\n  level: warn\nworker: {concurrency: 3}\n", |path| {
        let mut sources =
            sources(&[("host", "flag.example")], &[("HOST", "env.example"), ("SHIPWAY_LOG_LEVEL", "debug")]);
        sources.file = Some(path.to_owned());
        let effective = load(&sources).unwrap();
        assert_eq!(effective.config.host, "flag.example");
        assert_eq!(effective.config.api_host, "api.flag.example");
        assert_eq!(effective.given["log.level"].origin, Origin::Environment("SHIPWAY_LOG_LEVEL"));
        assert_eq!((effective.config.log_level.as_str(), effective.config.worker.concurrency), ("debug", 3));
        assert_eq!(effective.given["state_dir"].origin, Origin::Default);
    });
}

#[test]
fn an_unknown_key_is_refused_wherever_it_stands() {
    refused(&sources(&[("fetch.alow", "x")], &[]), "did you mean `fetch.allow`?");
    refused(&sources(&[], &[("SHIPWAY_FETCH_ALOW", "x")]), "did you mean `SHIPWAY_FETCH_ALLOW`?");
    with_file("fetch:\n  allow: ''\n  limits: 3\n", |path| {
        let mut sources = sources(&[], &[]);
        sources.file = Some(path.to_owned());
        refused(&sources, "there is no setting `fetch.limits` (file ");
    });
}

#[test]
fn a_wrong_value_names_key_origin_and_what_was_expected() {
    refused(
        &sources(&[("worker.concurrency", "many")], &[]),
        "`worker.concurrency: many` (flag): a whole number from 1 to 256",
    );
    refused(&sources(&[("state_dir", "here")], &[]), "an absolute path");
    refused(&sources(&[], &[("PORT", "80000")]), "(environment PORT)");
    refused(&sources(&[("listen", "8080")], &[]), "127.0.0.1:8080");
    refused(&sources(&[("api.open", "yes")], &[]), "one of off, loopback");
    refused(&sources(&[("proxy.user", "nobody")], &[]), "a user of its own");
    refused(&sources(&[("fetch.allow", "10.0.0.0/99")], &[]), "10.0.0.0/99");
    for bad in ["dns.example", "10.0.0.1:0", "10.0.0.1:53:53", "::1,::2,::3,::4"] {
        refused(&sources(&[("network.resolvers", bad)], &[]), "10.0.0.53");
    }
}

#[test]
fn listeners_serve_what_is_safe_unless_told() {
    let listeners = |text: &str| load(&sources(&[("listen", text)], &[])).unwrap().config.listeners;
    let serves = |text: &str| listeners(text).iter().map(|listener| listener.serves).collect::<Vec<_>>();
    assert_eq!(serves("127.0.0.1:1, 0.0.0.0:2, [::1]:3=services"), [Serves::Both, Serves::Services, Serves::Services]);
    let config = load(&sources(&[], &[("PORT", "9000")])).unwrap().config;
    assert_eq!(config.listeners[0].address, "127.0.0.1:9000".parse().unwrap());
    let config = load(&sources(&[("listen", "127.0.0.1:1=api, 0.0.0.0:0")], &[])).unwrap().config;
    assert_eq!(config.public_port(&["127.0.0.1:1".parse().unwrap(), "0.0.0.0:77".parse().unwrap()]), 77);
}

#[test]
fn templates_of_the_file_read_the_environment() {
    with_file("host: '{{ env \"SUFFIX\" }}'\nlog: {level: '{{ envOr \"LEVEL\" \"warn\" }}'}\n", |path| {
        let mut with = sources(&[], &[("SUFFIX", "apps.example.org")]);
        with.file = Some(path.to_owned());
        let config = load(&with).unwrap().config;
        assert_eq!((config.host.as_str(), config.log_level.as_str()), ("apps.example.org", "warn"));
    });
    with_file("host: '{{ exec \"id\" }}'\n", |path| {
        let mut with = sources(&[], &[]);
        with.file = Some(path.to_owned());
        refused(&with, "neither env");
    });
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let mut with = sources(&[], &[]);
    with.file = Some("/nowhere/config.yml".into());
    refused(&with, "/nowhere/config.yml");
}

#[test]
fn a_database_is_named_by_url_or_in_pieces_and_its_password_is_shown_to_nobody() {
    let url = |sources: &Sources| load(sources).unwrap().config.database_url.map(|url| url.reveal().to_owned());
    assert_eq!(url(&sources(&[], &[])), None);
    let by_url = sources(&[], &[("DATABASE_URL", "postgres://me:hunter2@db/shipway")]);
    assert_eq!(url(&by_url).as_deref(), Some("postgres://me:hunter2@db/shipway"));
    assert!(!format!("{:?}", load(&by_url).unwrap().config).contains("hunter2"));
    with_file("database:\n  host: /run/my db\n  user: a@b\n  password: 'x/y:z?'\n  ssl_mode: disable\n", |path| {
        let mut pieces = sources(&[], &[]);
        pieces.file = Some(path.to_owned());
        let expected = "postgres://a%40b:x%2Fy%3Az%3F@%2Frun%2Fmy%20db:5432/shipway?sslmode=disable";
        assert_eq!(url(&pieces).as_deref(), Some(expected));
    });
    let v6 = sources(&[("database.host", "::1"), ("database.port", "6432")], &[]);
    assert_eq!(url(&v6).as_deref(), Some("postgres://shipway@[::1]:6432/shipway?sslmode=prefer"));
    let both = sources(&[("database.host", "db")], &[("DATABASE_URL", "postgres://db/shipway")]);
    refused(&both, "both name a database");
    refused(&sources(&[("database.ssl_mode", "maybe")], &[]), "verify-full");
    let wrong = sources(&[], &[("DATABASE_URL", "mysql://me:hunter2@db")]);
    refused(&wrong, "postgres://user:password@host:5432/name is expected");
    assert!(!load(&wrong).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn programs_to_be_kept_warm_are_known_ones() {
    let warm = |text: &str| load(&sources(&[("builds.warm", text)], &[])).map(|loaded| loaded.config.builds.warm);
    let named = warm("caddy, k6@v1.8.1").unwrap();
    let named: Vec<(&str, String)> = named.iter().map(|(name, version)| (name.as_str(), version.to_string())).collect();
    assert_eq!(named, [("caddy", "latest".to_owned()), ("k6", "v1.8.1".to_owned())]);
    assert_eq!(warm("").unwrap(), []);
    refused(&sources(&[("builds.warm", "nginx@latest")], &[]), "there is no recipe \"nginx\"; there are caddy, k6");
    refused(&sources(&[("builds.warm", "caddy@none")], &[]), "builds.warm");
}
