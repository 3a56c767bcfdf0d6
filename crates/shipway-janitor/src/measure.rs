//! What is counted. Names are `shipway_janitor_<noun>_<unit>`, labels few and small.

use metrics::counter;

/// Rows of this kind were forgotten.
pub(crate) fn forgotten(what: &'static str, rows: u64) {
    if rows > 0 {
        tracing::info!(what, rows, "forgotten");
    }
    counter!("shipway_janitor_forgotten_total", "what" => what).increment(rows);
}

/// Lost tasks were given back.
pub(crate) fn rescued(tasks: u64) {
    counter!("shipway_janitor_rescued_total").increment(tasks);
}

/// Things of a place were removed.
pub(crate) fn cleared(place: &'static str, things: u64, bytes: u64) {
    if things > 0 {
        tracing::info!(place, things, bytes, "nothing needed them");
    }
    counter!("shipway_janitor_cleared_total", "place" => place).increment(things);
    counter!("shipway_janitor_cleared_bytes_total", "place" => place).increment(bytes);
}

/// A round came to no good end.
pub(crate) fn failed(what: &'static str) {
    counter!("shipway_janitor_failures_total", "what" => what).increment(1);
}
