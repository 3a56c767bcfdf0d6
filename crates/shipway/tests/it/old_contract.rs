//! The older URL deploy system's endpoint, as its own README shows it.

use serde_json::Value;
use shipway_testkit::http;

use crate::world::World;

#[test]
fn put_services_answers_as_its_readme_says() {
    let world = World::with(&[("HOST", "127.0.0.1.nip.io"), ("API_HOST", "api.127.0.0.1.nip.io")]);
    let address = world.platform.address();
    let url = world.files.put("/script", "echo run by sh\n");
    let put = |host: &str, body: &str| {
        http::request(
            address,
            "PUT",
            host,
            "/services/my-service",
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
        .unwrap()
    };
    let answer = put("api.127.0.0.1.nip.io", &format!("{{\"url\": \"{url}\", \"is_script\": true}}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let service = body["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let (host, port) = service.split_once(':').expect("the port is not the default one");
    assert_eq!(port, address.port().to_string());
    assert!(host.ends_with(".127.0.0.1.nip.io"), "{host}");
    assert_eq!(http::get(address, host, "/").unwrap().text(), "run by sh\n");

    let refused = |body: &str, says: &str| {
        let answer = put("api.127.0.0.1.nip.io", body);
        assert_eq!((answer.status, answer.text().as_str()), (400, says), "{body}");
    };
    refused("not json", "invalid_json\n");
    refused("{\"url\": \"ftp://x/\"}", "invalid_url\n");
    assert_eq!(put("other.example", "{}").status, 404);
}
