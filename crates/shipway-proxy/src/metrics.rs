//! What the proxy counts, and how that reads in Prometheus' text format.
//!
//! Plain atomics: a count must not cost what a request costs, and must not grow
//! while nobody fetches it. The control plane fetches the text over the control
//! socket and adds it to its own.

mod presence;

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use presence::Presence;

/// Upper bounds of the duration histogram, in microseconds.
const BUCKETS_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 60_000_000];

/// Something that is only counted.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which limit was hit. Each is one value of a label, and is logged once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    ConnectionsPerAddress,
    Connections,
    HeaderTime,
    HeadSize,
    BodyIdle,
    BodySize,
    FirstByte,
    ResponseIdle,
    Concurrency,
    Held,
    Drain,
    /// HTTP/2 frames that cost us more than their sender.
    Flood,
}

const LIMITS: [(Limit, &str); 12] = [
    (Limit::ConnectionsPerAddress, "connections_per_address"),
    (Limit::Connections, "connections"),
    (Limit::HeaderTime, "header_time"),
    (Limit::HeadSize, "head_size"),
    (Limit::BodyIdle, "body_idle"),
    (Limit::BodySize, "body_size"),
    (Limit::FirstByte, "first_byte"),
    (Limit::ResponseIdle, "response_idle"),
    (Limit::Concurrency, "concurrency"),
    (Limit::Held, "held"),
    (Limit::Drain, "drain"),
    (Limit::Flood, "http2_flood"),
];

/// Every count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answers by class, 1xx to 5xx.
    classes: [Count; 5],
    durations: [Count; BUCKETS_US.len() + 1],
    duration_us: Count,
    limits: [Count; LIMITS.len()],
    /// Second (of the process) when a hit of each limit was last logged, plus one.
    logged: [AtomicU64; LIMITS.len()],
    pub(crate) connections: Count,
    /// Requests answered by the fast path.
    pub(crate) fast: Count,
    pub(crate) refused: Count,
    pub(crate) upgrades: Count,
    pub(crate) upstream_connects: Count,
    pub(crate) upstream_failures: Count,
    pub(crate) upstream_retries: Count,
    pub(crate) accept_errors: Count,
    pub(crate) request_bytes: Count,
    pub(crate) response_bytes: Count,
    /// Of the control plane.
    pub(crate) presence: Presence,
}

/// A limit that is hit all the time is logged once in so many seconds.
const LOG_SECONDS: u64 = 60;

impl Metrics {
    /// Counts one answer whose head is ready.
    pub(crate) fn answer(&self, status: http::StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.classes[class].add(1);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        self.durations[bucket].add(1);
        self.duration_us.add(us);
    }

    /// Counts a limit that was hit, and logs it unless it was logged lately.
    pub(crate) fn limit(&self, limit: Limit) {
        let at = LIMITS.iter().position(|(one, _)| *one == limit).unwrap_or_default();
        self.limits[at].add(1);
        let now = uptime_seconds() + 1;
        let last = self.logged[at].load(Ordering::Relaxed);
        let is_due = last == 0 || now >= last + LOG_SECONDS;
        let mine = || self.logged[at].compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && mine().is_ok() {
            let hits = self.limits[at].get();
            tracing::warn!(limit = LIMITS[at].1, hits, "a limit was hit");
        }
    }

    /// Hits of one limit so far.
    #[cfg(test)]
    pub(crate) fn hits(&self, limit: Limit) -> u64 {
        let at = LIMITS.iter().position(|(one, _)| *one == limit).unwrap();
        self.limits[at].get()
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn render(&self, connections: usize, routes: usize) -> String {
        let mut text = String::with_capacity(4096);
        let mut page = Page(&mut text);
        page.head("requests_total", "counter", "Answers by class of status.");
        for (class, count) in (1..).zip(&self.classes) {
            page.line("requests_total", &format!("{{code=\"{class}xx\"}}"), count.get());
        }
        self.render_durations(&mut page);
        page.head("limits_hit_total", "counter", "Limits that were hit.");
        for ((_, name), count) in LIMITS.iter().zip(&self.limits) {
            page.line("limits_hit_total", &format!("{{limit=\"{name}\"}}"), count.get());
        }
        self.render_counts(&mut page);
        for (name, value, help) in
            [("open_connections", connections, "Visitors' connections."), ("routes", routes, "Services with a route.")]
        {
            page.head(name, "gauge", help);
            page.line(name, "", value as u64);
        }
        self.render_presence(&mut page);
        text
    }

    fn render_presence(&self, page: &mut Page<'_>) {
        let (up, losses, away) = self.presence.told();
        page.head("control_plane_up", "gauge", "Whether the control plane is connected.");
        page.line("control_plane_up", "", up);
        page.head("control_plane_losses_total", "counter", "Times the control plane was lost.");
        page.line("control_plane_losses_total", "", losses);
        page.head("control_plane_away_seconds_total", "counter", "Time without a control plane.");
        page.line("control_plane_away_seconds_total", "", away.as_secs_f64());
    }

    fn render_counts(&self, page: &mut Page<'_>) {
        for (name, count, help) in [
            ("connections_total", &self.connections, "Visitors' connections accepted."),
            ("fast_requests_total", &self.fast, "Requests that took the fast path."),
            ("requests_refused_total", &self.refused, "Requests refused before hyper saw them."),
            ("upgrades_total", &self.upgrades, "Connections that switched to another protocol."),
            ("upstream_connects_total", &self.upstream_connects, "Connections opened to endpoints."),
            ("upstream_failures_total", &self.upstream_failures, "Requests an endpoint did not answer properly."),
            ("upstream_retries_total", &self.upstream_retries, "Requests sent again on another connection."),
            ("accept_errors_total", &self.accept_errors, "Connections the kernel could not hand over."),
            ("request_bytes_total", &self.request_bytes, "Bytes of request bodies."),
            ("response_bytes_total", &self.response_bytes, "Bytes of response bodies."),
        ] {
            page.head(name, "counter", help);
            page.line(name, "", count.get());
        }
    }

    fn render_durations(&self, page: &mut Page<'_>) {
        let name = "request_duration_seconds";
        page.head(name, "histogram", "From a request's head to its answer's head.");
        let mut sum = 0;
        for (count, bound) in self.durations.iter().zip(BUCKETS_US) {
            sum += count.get();
            let seconds = Duration::from_micros(bound).as_secs_f64();
            page.line(&format!("{name}_bucket"), &format!("{{le=\"{seconds}\"}}"), sum);
        }
        sum += self.durations[BUCKETS_US.len()].get();
        page.line(&format!("{name}_bucket"), "{le=\"+Inf\"}", sum);
        let seconds = Duration::from_micros(self.duration_us.get()).as_secs_f64();
        page.line(&format!("{name}_sum"), "", seconds);
        page.line(&format!("{name}_count"), "", sum);
    }
}

struct Page<'a>(&'a mut String);

impl Page<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        writeln!(self.0, "# HELP shipway_proxy_{name} {help}").ok();
        writeln!(self.0, "# TYPE shipway_proxy_{name} {kind}").ok();
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "shipway_proxy_{name}{labels} {value}").ok();
    }
}

fn uptime_seconds() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_count_once_and_buckets_that_add_up() {
        let metrics = Metrics::default();
        metrics.answer(http::StatusCode::OK, Duration::from_micros(700));
        metrics.answer(http::StatusCode::BAD_GATEWAY, Duration::from_secs(100));
        metrics.limit(Limit::FirstByte);
        metrics.limit(Limit::FirstByte);
        let page = metrics.render(3, 2);
        for line in [
            "shipway_proxy_requests_total{code=\"2xx\"} 1",
            "shipway_proxy_requests_total{code=\"5xx\"} 1",
            "shipway_proxy_request_duration_seconds_bucket{le=\"0.0005\"} 0",
            "shipway_proxy_request_duration_seconds_bucket{le=\"0.001\"} 1",
            "shipway_proxy_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "shipway_proxy_request_duration_seconds_count 2",
            "shipway_proxy_limits_hit_total{limit=\"first_byte\"} 2",
            "shipway_proxy_open_connections 3",
            "shipway_proxy_routes 2",
        ] {
            assert_eq!(page.lines().filter(|l| *l == line).count(), 1, "{line}\n{page}");
        }
        assert_eq!(metrics.hits(Limit::FirstByte), 2);
    }
}
