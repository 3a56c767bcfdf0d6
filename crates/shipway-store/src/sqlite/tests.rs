//! What only this crate can see of its SQLite side.

use super::is_new_enough;

#[test]
fn versions_compare_by_their_numbers() {
    for (version, expected) in [
        ("3.51.3", true),
        ("3.51.10", true),
        ("3.52.0", true),
        ("4.0", true),
        ("3.51.2", false),
        ("3.9.99", false),
        ("3.51", false),
        ("nonsense", false),
    ] {
        assert_eq!(is_new_enough(version), expected, "{version}");
    }
}
