//! The configuration of the Caddy build server, accepted as it is.

use std::collections::BTreeMap;
use std::path::Path;

use super::{refused, sources, with_file};
use crate::config::{Effective, ListenerConfig, Serves, load, notes};

const FILE: &str = include_str!("../../../tests/caddy-build-server.yml");

#[track_caller]
fn loaded(text: &str, environment: &[(&str, &str)]) -> Effective {
    let mut effective = None;
    with_file(text, |path| {
        let mut sources = sources(&[], environment);
        sources.file = Some(path.to_owned());
        effective = Some(load(&sources).unwrap());
    });
    effective.unwrap()
}

fn listeners(text: &str, environment: &[(&str, &str)]) -> Vec<ListenerConfig> {
    loaded(text, environment).config.listeners
}

fn both(address: &str) -> Vec<ListenerConfig> {
    vec![ListenerConfig { address: address.parse().unwrap(), serves: Serves::Both }]
}

#[test]
fn it_is_accepted_word_for_word() {
    let config = loaded(FILE, &[]).config;
    let url = "postgres://buildserver:buildserver@localhost:5433/buildserver?sslmode=disable";
    assert_eq!(config.database_url.unwrap().reveal(), url);
    assert_eq!(config.listeners, both("127.0.0.1:8234"));
    assert_eq!(config.builds.proxies.as_deref(), Some("https://proxy.example.org,direct"));
    assert_eq!((config.builds.at_once, config.builds.memory_bytes), (2, 2048 << 20));
    assert_eq!((config.builds.cpu_millis, config.builds.pids), (Some(2000), 100));
    assert_eq!(config.builds.folder.as_deref(), Some(Path::new("/tmp/caddy-builds")));
    let env = [("GOAMD64", "v3"), ("GOEXPERIMENT", "rangefunc,aliastypeparams"), ("NOTE", "made here")];
    assert_eq!(config.builds.env, env.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!((config.worker.drain.as_secs(), config.worker.preemption), (300, None));
    assert_eq!(config.builds.openpgp, None);
}

#[test]
fn its_variables_mean_what_its_file_says() {
    let environment = [
        ("DATABASE_HOST", "db"),
        ("API_HOST", "0.0.0.0"),
        ("API_PORT", "9000"),
        ("GOPROXY", "https://goproxy.example.org"),
        ("NOTE", "a: {b}\" # c"),
    ];
    let config = loaded(FILE, &environment).config;
    assert!(config.database_url.unwrap().reveal().contains("@db:5433/"));
    let address = "0.0.0.0:9000".parse().unwrap();
    assert_eq!(config.listeners, [ListenerConfig { address, serves: Serves::Api }]);
    assert_eq!(config.api_host, "api.localhost", "API_HOST is the address here, not the public name");
    assert_eq!(config.builds.proxies.as_deref(), Some("https://goproxy.example.org"));
    assert_eq!(config.builds.env["NOTE"], "a: {b}\" # c", "what a variable holds is never read as YAML");
    // Without such a file it is the older deploy system's, and beside one `SHIPWAY_…` still counts.
    assert_eq!(load(&sources(&[], &[("API_HOST", "api.example.org")])).unwrap().config.api_host, "api.example.org");
    let own = [("API_HOST", "0.0.0.0"), ("SHIPWAY_API_PUBLIC_HOST", "builds.example.org")];
    assert_eq!(loaded(FILE, &own).config.api_host, "builds.example.org");
}

#[test]
fn where_the_api_listens_is_said_by_listen_then_port_then_api() {
    let file = "api: {host: 127.0.0.1, port: 9001}\n";
    assert_eq!(listeners(file, &[]), both("127.0.0.1:9001"));
    assert_eq!(listeners(file, &[("PORT", "9002")]), both("127.0.0.1:9002"));
    assert_eq!(listeners(file, &[("PORT", "9002"), ("SHIPWAY_LISTEN", "127.0.0.1:9003")]), both("127.0.0.1:9003"));
    assert_eq!(listeners("api: {port: 9001}\n", &[]), both("127.0.0.1:9001"));
    assert_eq!(listeners("api: {host: '::1'}\n", &[]), both("[::1]:8080"));
    for (key, value) in [("api.host", "example.org"), ("api.port", "http"), ("api.port", "70000")] {
        refused(&sources(&[(key, value)], &[]), key);
    }
}

#[test]
fn variables_for_builds_are_checked_where_they_are_set() {
    let env = |text: &str| load(&sources(&[("worker.build_env", text)], &[])).unwrap().config.builds.env;
    assert_eq!(env("GOAMD64=v3 A=b=c"), BTreeMap::from([("A", "b=c"), ("GOAMD64", "v3")].map(owned)));
    assert_eq!(env("{\"A\":\"b c\"}"), BTreeMap::from([("A", "b c")].map(owned)));
    for (text, says) in [
        ("GOOS=plan9", "what it is built for"),
        ("GOARCH=arm", "what it is built for"),
        ("GOARM=7", "what it is built for"),
        ("CGO_ENABLED=1", "without cgo"),
        ("GOPRIVATE=x.test/*", "`builds.checksum_exempt`"),
        ("LD_PRELOAD=/x", "compiler"),
        ("nothing", "NAME=value"),
        ("{\"A\":", "NAME=value"),
        ("{\"A\":3}", "NAME=value"),
    ] {
        refused(&sources(&[("worker.build_env", text)], &[]), says);
    }
    with_file("worker:\n  build_env:\n    GOFLAGS: -toolexec=x\n", |path| {
        let mut sources = sources(&[], &[]);
        sources.file = Some(path.to_owned());
        refused(&sources, "the flags of a build are its recipe's");
    });
    refused(&sources(&[("worker.build_path", "builds")], &[]), "an absolute path");
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn what_means_something_else_here_is_said() {
    let effective = loaded(FILE, &[("API_HOST", "0.0.0.0")]);
    let said: BTreeMap<_, _> =
        notes(&effective, Some(("1.26.8", Path::new("/usr/local/go"))), Path::new("/srv")).into_iter().collect();
    for (key, says) in [
        ("api.host", "0.0.0.0:8234=api"),
        ("api.go_proxy", "`direct` is left out"),
        (
            "worker.docker_image",
            "golang:1.25 is not fetched: builds are made with Go 1.26.8 of /usr/local/go (`builds.go`",
        ),
        ("worker.docker_host", "no Docker"),
        ("worker.build_path", "/tmp/caddy-builds"),
        ("worker.build_env", "key"),
        ("storage.local.path", "/srv/builds"),
    ] {
        assert!(said[key].contains(says), "{key}: {:?} does not say {says:?}", said[key]);
    }
    assert_eq!(said.len(), 7, "{said:?}");
    let usual = load(&sources(&[], &[])).unwrap();
    assert_eq!(notes(&usual, None, Path::new("/")), [], "nothing is said to who moved from nowhere");
    let unused = load(&sources(&[("api.port", "1"), ("listen", "127.0.0.1:2")], &[])).unwrap();
    assert_eq!(notes(&unused, None, Path::new("/"))[0].1, "not used: `listen` says where to listen");
}

#[test]
fn calls_are_found_wherever_yaml_lets_them_stand() {
    let host = |text: &str| loaded(text, &[("A", "x"), ("B", "y.z")]).config.host;
    for (text, expected) in [
        ("host: {{ env \"A\" }}.{{env \"B\"}}\n", "x.y.z"),
        ("host: '{{ env \"A\" }}'\n", "x"),
        ("host: \"{{ env \\\"A\\\" }}\"\n", "x"),
        ("{host: {{ envOr \"C\" \"c d\" }}}\n", "c d"),
    ] {
        if expected == "c d" {
            with_file(text, |path| {
                let mut sources = sources(&[], &[]);
                sources.file = Some(path.to_owned());
                refused(&sources, "`host: c d`");
            });
        } else {
            assert_eq!(host(text), expected, "{text}");
        }
    }
    for (text, says) in [
        ("host: '{{ env \"A'\n", "not closed"),
        ("host: {{ env A B C }}\n", "neither env"),
        ("{{ env \"A\" }}: x\n", "`{{ env \"A\" }}`"),
        ("host: \u{E000}0\u{E000}\n", "private use"),
        ("host: [{{ env \"A\" }}\n", "config.yml"),
    ] {
        with_file(text, |path| {
            let mut sources = sources(&[], &[("A", "x")]);
            sources.file = Some(path.to_owned());
            refused(&sources, says);
        });
    }
}
