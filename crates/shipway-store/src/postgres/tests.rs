//! What only this crate can see of its PostgreSQL side.

use super::storable;
use crate::query::Value;

#[test]
fn a_zero_byte_is_shown_as_what_cannot_be_shown() {
    let Value::Text(Some(stored)) = storable("exit \0 9".into()) else { panic!() };
    assert_eq!(stored, "exit \u{fffd} 9");
}
