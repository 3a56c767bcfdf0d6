//! Dashboards that ask for figures nobody tells.
//!
//! A metric that is renamed leaves an empty graph behind, which looks like peace. So every
//! metric that a file in `docs/grafana` asks for must stand in the code, as text.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use serde_json::Value;

use crate::sh;

/// What the names of our metrics begin with.
const PREFIXES: [&str; 2] = ["shipway_", "http_request"];

/// The proxy writes its names without this.
const PROXY: &str = "shipway_proxy_";

/// What a histogram's own series end with.
const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Returns every metric that a dashboard names and the code does not.
pub(super) fn check(files: &[String]) -> anyhow::Result<Vec<String>> {
    let sources = files.iter().filter(|file| file.starts_with("crates/") && file.contains("/src/"));
    let code = sources.map(|file| fs::read_to_string(sh::root().join(file))).collect::<Result<Vec<_>, _>>();
    let code = code.context("a source cannot be read")?.concat();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.starts_with("docs/grafana/")) {
        let text = fs::read_to_string(sh::root().join(file))?;
        let dashboard = serde_json::from_str(&text).with_context(|| format!("{file} is no JSON"))?;
        let mut metrics = BTreeSet::new();
        asked_for(&dashboard, &mut metrics);
        if metrics.is_empty() {
            findings.push(format!("{file} asks for no metric"));
        }
        let missing = metrics.iter().filter(|metric| !is_told(metric, &code));
        findings.extend(missing.map(|metric| format!("{file}: no code tells {metric}")));
    }
    Ok(findings)
}

/// Metrics in the expressions of all panels and variables.
fn asked_for(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if matches!(name.as_str(), "expr" | "query" | "definition") => {
                        found.extend(metrics(text));
                    }
                    value => asked_for(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| asked_for(value, found)),
        _ => {}
    }
}

/// The names of metrics in one expression.
fn metrics(expression: &str) -> impl Iterator<Item = String> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned)
}

fn is_told(metric: &str, code: &str) -> bool {
    let stands = |name: &str| code.contains(&format!("\"{name}\""));
    let told = |name: &str| stands(name) || name.strip_prefix(PROXY).is_some_and(stands);
    told(metric) || SUFFIXES.iter().filter_map(|suffix| metric.strip_suffix(suffix)).any(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_in_expressions_and_in_code() {
        let expression =
            "histogram_quantile(0.9, sum by (le) (rate(shipway_queue_wait_seconds_bucket{state=\"x\"}[5m])))";
        assert_eq!(metrics(expression).collect::<Vec<_>>(), ["shipway_queue_wait_seconds_bucket"]);
        let code = r#"histogram!("shipway_queue_wait_seconds") page.head("routes", "gauge")"#;
        assert!(is_told("shipway_queue_wait_seconds_bucket", code));
        assert!(is_told("shipway_proxy_routes", code));
        assert!(!is_told("shipway_routes", code));
        assert!(!is_told("shipway_queue_wait_second", code));
    }

    #[test]
    fn every_expression_of_a_dashboard_is_looked_at() {
        let dashboard = serde_json::json!({
            "panels": [{"targets": [{"expr": "shipway_a"}], "title": "shipway_not_this"}],
            "templating": {"list": [{"query": {"query": "label_values(shipway_b, instance)"}}]},
        });
        let mut found = BTreeSet::new();
        asked_for(&dashboard, &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["shipway_a", "shipway_b"]);
    }
}
