//! Lines of the feed as every version wrote them: read for ever, written the same.

use shipway_proxy::wire::{Answer, Ask, Endpoint, Protocol};

/// Reads each line, writes it again, and compares as JSON.
#[track_caller]
fn check<T: serde::de::DeserializeOwned + serde::Serialize>(lines: &str) {
    for line in lines.lines() {
        let message: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let again = serde_json::to_value(&message).unwrap();
        let before: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(again, before, "{line}");
    }
}

#[test]
fn version_1_is_read_and_written() {
    check::<Ask>(include_str!("../fixtures/v1/asks.ndjson"));
    check::<Answer>(include_str!("../fixtures/v1/answers.ndjson"));
}

#[test]
fn fields_of_later_versions_are_ignored_and_missing_ones_have_defaults() {
    let line = r#"{"ask":"upsert","version":1,"new":true,"route":{"service_id":"a","name":"b","labels":["a"],"state":{"state":"starting"},"zone":"x"}}"#;
    assert!(matches!(serde_json::from_str(line), Ok(Ask::Upsert { version: 1, .. })));
    // So a proxy reads endpoints that say more than it knows.
    let line = r#"{"type":"dialer","path":"/d","later":"h4"}"#;
    let known = Endpoint::Dialer { path: "/d".to_owned(), protocol: Protocol::Http1 };
    assert_eq!(serde_json::from_str::<Endpoint>(line).unwrap(), known);
}
