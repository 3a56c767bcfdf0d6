//! The document is whole, and agrees with itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let ("$ref", Value::String(target)) = (name.as_str(), value) {
                    into.insert(target);
                }
                references(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[test]
fn every_shape_that_is_named_is_there() {
    let document = document("0.0.0");
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    assert!(named.len() > 15, "{named:?}");
    for target in named {
        let pointer = target.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_names_its_places() {
    let mut ids = BTreeSet::new();
    for endpoint in routes::native().into_iter().chain(routes::contracts()) {
        let rules = endpoint.rules;
        assert!(ids.insert(rules.doc.id), "{} twice", rules.doc.id);
        let places: Vec<&str> =
            rules.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let told: Vec<&str> = rules
            .doc
            .parameters
            .iter()
            .filter(|parameter| parameter.place == Place::Path)
            .map(|parameter| parameter.name)
            .collect();
        assert_eq!(places, told, "{}", rules.path);
    }
}

#[test]
fn what_needs_a_token_says_so() {
    let document = document("0.0.0");
    let deploy = &document["paths"]["/v1/services/{service}"]["put"];
    assert_eq!(deploy["security"], json!([{ "token": [] }]));
    for status in ["200", "201", "202", "400", "401", "403", "412", "413", "422", "502", "503", "504"] {
        assert!(deploy["responses"][status].is_object(), "{status}");
    }
    assert_eq!(document["paths"]["/livez"]["get"]["security"], json!([]));
}
