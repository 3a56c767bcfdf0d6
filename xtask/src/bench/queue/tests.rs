//! From what the store says it sent to what the peers send.

use serde_json::json;

use super::script::Script;
use super::{percentile, pgbench, sqlite};

fn script() -> Script {
    let said = json!({
        "claim": [
            { "sql": "BEGIN;\n    SET LOCAL a = on", "values": [] },
            { "sql": "UPDATE task SET x = $2 WHERE w = $1\n RETURNING id, project, subject", "values": ["it's", null] },
            { "sql": "INSERT INTO event VALUES ($1, $2)", "values": ["task/11-aa", "{\"token\":7,\"note\":null}"] },
        ],
        "finish": [
            { "sql": "SELECT 1 FROM task WHERE id = $1 AND lease_token = $2 AND n = $3", "values": ["11-aa", 7, 42] },
            { "sql": "NOTIFY shipway, 'x'; COMMIT", "values": [] },
        ],
        "id": "11-aa", "subject": "22-bb", "project": "p0", "token": 7,
        "settings": [["jit", "off"], ["lock_timeout", "2s"]],
    });
    Script::of(&said).unwrap()
}

#[test]
fn pgbench_gets_the_tasks_own_values_as_variables_and_one_message_as_one_pipeline() {
    assert_eq!(
        pgbench::text(&script()),
        "\\startpipeline\nBEGIN;\nSET LOCAL a = on;\n\\endpipeline\n\
         UPDATE task SET x = NULL WHERE w = ('it''s') RETURNING id, project, subject \\gset\n\
         INSERT INTO event VALUES (('task/' || CAST(:id AS text)), \
         ('{' || '\"token\":' || '' || CAST(:lease_token AS text) || ',' || '\"note\":' || 'null}'));\n\
         SELECT 1 FROM task WHERE id = :id AND lease_token = :lease_token AND n = 42;\n\
         \\startpipeline\nNOTIFY shipway, 'x';\nCOMMIT;\n\\endpipeline\n"
    );
}

#[test]
fn pgbench_has_the_sessions_of_the_store() {
    assert_eq!(pgbench::options(&script()), "-c jit=off -c lock_timeout=2s");
}

#[test]
fn the_loop_gets_a_statement_a_line() {
    assert_eq!(
        String::from_utf8(sqlite::lines(&script())).unwrap(),
        "BEGIN\nSET LOCAL a = on\n\
         UPDATE task SET x = $2 WHERE w = $1 RETURNING id, project, subject\ttit's\tn\n\
         INSERT INTO event VALUES ($1, $2)\tttask/\u{1}\tt{\"token\":\u{4},\"note\":null}\n\
         SELECT 1 FROM task WHERE id = $1 AND lease_token = $2 AND n = $3\tt\u{1}\tk\ti42\n\
         NOTIFY shipway, 'x'\nCOMMIT\n"
    );
}

#[test]
fn a_percentile_is_a_value_that_was_measured() {
    let values: Vec<f64> = (1..=200).map(f64::from).collect();
    for (percent, expected) in [(50, 100.0), (99, 198.0), (100, 200.0)] {
        assert!((percentile(&values, percent) - expected).abs() < 1e-9, "{percent}");
    }
    assert!((percentile(&[3.0], 99) - 3.0).abs() < 1e-9);
}
