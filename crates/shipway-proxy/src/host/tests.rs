use super::*;

#[track_caller]
fn check(host: &str, expected: &str) {
    let hosts = Hosts::new(&["localhost".to_owned(), "Apps.Example.com.".to_owned()], &["api.example.com".to_owned()]);
    let said = match parse(host.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(host) => match hosts.name(&host) {
            Named::Api => "api".to_owned(),
            Named::Service(label) => format!("service {label}"),
            Named::Nothing => "nothing".to_owned(),
        },
    };
    assert_eq!(said, expected, "host: {host}");
}

#[test]
fn a_label_below_a_suffix_names_a_service() {
    check("hello.localhost", "service hello");
    check("Hello.LocalHost:8080", "service hello");
    check("hello.localhost.", "service hello");
    check("hello.localhost.:8080", "service hello");
    check("hello.apps.example.com", "service hello");
}

#[test]
fn the_api_has_its_own_names_and_loopback() {
    for host in ["localhost:8080", "127.0.0.1", "[::1]:80", "API.example.com."] {
        check(host, "api");
    }
}

#[test]
fn everything_else_names_nothing() {
    for host in ["a.b.localhost", "example.com", "apps.example.com", "xlocalhost", "[::2]"] {
        check(host, "nothing");
    }
}

#[test]
fn what_is_not_plainly_a_host_is_refused() {
    for host in [
        "",
        ".",
        "a..b",
        "a b.localhost",
        "a.localhost:8a",
        "a.localhost:123456",
        "u@a.localhost",
        "a.localhost/x",
        "a,b.localhost",
        "[::1",
        "[::1]x",
        "[zz]",
        "a%2eb.localhost",
        "é.localhost",
        "a.localhost:80:80",
        "a\tb",
        "-.localhost\0",
    ] {
        check(host, "the Host is not valid");
    }
}

#[test]
fn a_target_and_a_host_must_agree() {
    let of = |uri: &str, host: Option<&str>| {
        let mut request = http::Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        of_request(&request.body(()).unwrap().into_parts().0)
    };
    assert_eq!(of("/", Some("a.localhost")), Ok("a.localhost".to_owned()));
    assert_eq!(of("http://A.localhost:80/", Some("a.localhost")), Ok("a.localhost".to_owned()));
    assert_eq!(of("http://b.localhost/", Some("a.localhost")), Err(HostError::Differs));
    assert_eq!(of("http://u@a.localhost/", None), Err(HostError::Invalid));
    assert_eq!(of("/", None), Err(HostError::Missing));
}
