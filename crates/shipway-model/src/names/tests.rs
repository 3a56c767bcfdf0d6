use super::*;

#[track_caller]
fn refused(text: &str, why: NameError) {
    assert_eq!(text.parse::<ServiceName>(), Err(why), "{text:?}");
}

#[test]
fn a_dns_label_is_a_name() {
    for text in ["a", "0", "my-service", "a--b", &"x".repeat(63)] {
        assert!(text.parse::<ServiceName>().is_ok(), "{text:?}");
    }
}

#[test]
fn anything_else_is_refused_with_its_rule() {
    refused("", NameError::Empty);
    refused(&"x".repeat(64), NameError::TooLong);
    for text in ["-a", "a-", "A", "a.b", "a_b", "a b", "é", "a\n", "../x"] {
        refused(text, NameError::Grammar);
    }
    refused("3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb", NameError::LooksLikeId);
    refused("3ffafdc6d32d42dd9cf3b7faa0884bcb", NameError::LooksLikeId);
}

#[test]
fn slugs_fold_what_labels_cannot_hold() {
    let slug = |text: &str| ServiceName::slug(text).map(String::from);
    assert_eq!(slug("My  Service!"), Ok("my-service".into()));
    assert_eq!(slug("--a--b--"), Ok("a-b".into()));
    assert_eq!(slug("../../etc/passwd"), Ok("etc-passwd".into()));
    let long = "ab ".repeat(60);
    assert_eq!(slug(&long).map(|s| s.len() <= LABEL_LENGTH_MAX), Ok(true));
    assert_eq!(slug("  "), Err(NameError::Empty));
    assert_eq!(slug("ÀÉ"), Err(NameError::Empty));
}
