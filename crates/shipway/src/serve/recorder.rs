//! Where figures are kept until somebody asks for them.
//!
//! Those of the queue are histograms, because they are summed over processes; the others
//! are summaries, as they have always been.

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds that a task may wait: from a notice that came at once to half an hour.
const WAITS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0];
/// Seconds from the end of a lease to its task's return: a quarter of a heartbeat, if all is well.
const RESCUES: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0];
/// Tries of a task: ten are all it gets.
const ATTEMPTS: [f64; 5] = [1.0, 2.0, 3.0, 5.0, 10.0];

/// Has this process's figures kept, and returns what they are read from.
pub(super) fn install() -> anyhow::Result<PrometheusHandle> {
    let histograms: [(&str, &[f64]); 3] = [
        ("shipway_queue_wait_seconds", &WAITS),
        ("shipway_queue_rescue_seconds", &RESCUES),
        ("shipway_queue_attempts", &ATTEMPTS),
    ];
    let builder = histograms.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, buckets)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
    });
    builder.and_then(PrometheusBuilder::install_recorder).context("cannot record metrics")
}
