//! The OpenAPI document that is committed is the one that is served.

use std::path::Path;

use shipway_stdx::fs::{Durability, write_atomic};

/// Set it to write the document anew instead of comparing.
const UPDATE: &str = "UPDATE_GOLDEN";

#[test]
fn the_committed_document_is_the_one_we_serve() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/shipway.json");
    let served = shipway_api::openapi_json();
    if std::env::var_os(UPDATE).is_some() {
        write_atomic(&path, served.as_bytes(), 0o644, Durability::Process).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(served.lines()).position(|(a, b)| a != b);
    assert!(
        committed == served,
        "openapi/shipway.json is not what is served (first difference in line {:?}): `cargo xtask gen` writes it anew",
        differs.map(|line| line + 1),
    );
}
