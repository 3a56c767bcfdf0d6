//! The text is golden: whoever changes it changes what others parse.

use super::*;

fn provenance() -> Provenance {
    let dependency = |uri: &str, sum: &str| Dependency {
        uri: uri.to_owned(),
        digest: BTreeMap::from([("dirHash1".to_owned(), sum.to_owned())]),
    };
    let text = |key: &str, value: &str| (key.to_owned(), Value::from(value));
    Provenance {
        name: "caddy".to_owned(),
        subject: Digest::from_sha256([0xab; 32]),
        build_type: "https://shipway.dev/build/go/v1".to_owned(),
        external_parameters: BTreeMap::from([text("os", "linux"), text("arch", "amd64")]),
        internal_parameters: BTreeMap::from([text("flags", "-trimpath")]),
        resolved_dependencies: vec![
            dependency("pkg:golang/example.com/b@v1.0.0", "b="),
            dependency("pkg:golang/example.com/a@v1.0.0", "a="),
        ],
        builder_id: "https://shipway.dev/builder".to_owned(),
        builder_version: BTreeMap::from([("shipway".to_owned(), "0.1.0".to_owned())]),
        invocation_id: "e3d9".to_owned(),
        started_at: 1_795_305_600_000_000,
        finished_at: 1_795_305_602_500_000,
    }
}

#[test]
fn the_text_is_as_in_toto_and_slsa_say() {
    assert_eq!(provenance().to_json(), include_str!("golden.json"));
}

#[test]
fn the_same_data_gives_the_same_text() {
    let mut turned = provenance();
    turned.resolved_dependencies.reverse();
    assert_eq!(turned.to_json(), provenance().to_json());
}
