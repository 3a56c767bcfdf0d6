//! How statements are put together.

use super::{Batch, Value, renumbered};

#[test]
fn values_of_a_statement_behind_others_come_after_theirs() {
    let mut text = String::new();
    renumbered("UPDATE a SET b = $2, c = $10 WHERE d = $1", 3, &mut text);
    assert_eq!(text, "UPDATE a SET b = $5, c = $13 WHERE d = $4");

    let mut batch = Batch::default();
    batch.add("INSERT INTO a VALUES ($1, $2)", vec![Value::from(1), Value::from("x")]);
    batch.add("DELETE FROM b", Vec::new());
    batch.add("UPDATE c SET d = $1 WHERE e = $1", vec![Value::from(2)]);
    assert_eq!(batch.sql, "INSERT INTO a VALUES ($1, $2);DELETE FROM b;UPDATE c SET d = $3 WHERE e = $3");
    assert_eq!(batch.values.len(), 3);
}
