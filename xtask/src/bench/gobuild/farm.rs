//! A whole Shipway that makes builds, and how long each phase of one took.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use shipway_testkit::{Platform, Settings, http, wait_until};

use super::VERSION;
use super::hand::proxies;
use super::plugins::{PLUGIN, Plugins};
use crate::sh;
use crate::up::binary;

/// A cold Caddy takes minutes, and so does the warmer.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Shipway, with a farm.
pub(super) struct Farm {
    pub(super) platform: Platform,
}

/// What a build took.
pub(super) struct Timing {
    /// Until the versions were settled and the build was asked for.
    pub(super) resolve: Duration,
    /// The steps that may reach proxies.
    pub(super) download: Duration,
    /// The compile step.
    pub(super) compile: Duration,
    /// From asked to published.
    pub(super) whole: Duration,
}

impl Farm {
    pub(super) fn start(plugins: &Plugins) -> anyhow::Result<Self> {
        let environment = [
            ("SHIPWAY_BUILDS_ENABLED", "true".to_owned()),
            ("SHIPWAY_API_GO_PROXY", proxies(plugins)?),
            ("SHIPWAY_BUILDS_CHECKSUM_DATABASE", sh::read("go", &["env", "GOSUMDB"])?.trim().to_owned()),
            ("SHIPWAY_BUILDS_CHECKSUM_EXEMPT", PLUGIN.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Self { platform: Platform::start(&binary(), Settings { environment, ..Settings::default() })? })
    }

    /// Waits until the next build has a cache to stand on.
    pub(super) fn wait_warm(&self) {
        wait_until("builds have a warm cache", PATIENCE, || {
            let log = self.platform.log();
            assert!(!log.contains("no warm cache for builds"), "{log}");
            log.contains("builds have a warm cache").then_some(())
        });
    }

    /// Builds Caddy with this plugin, `module@version`, or alone.
    pub(super) fn build(&self, plugin: Option<&str>) -> anyhow::Result<Timing> {
        let plugins: Vec<&str> = plugin.into_iter().collect();
        let body = json!({"version": VERSION, "os": "linux", "arch": arch(), "plugins": plugins}).to_string();
        let begun = Instant::now();
        let headers = [("content-type", "application/json")];
        let (address, host) = (self.platform.address(), "localhost");
        let answer = http::request(address, "POST", host, "/v1/builds", &headers, body.as_bytes())?;
        let resolve = begun.elapsed();
        let asked: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        let id = asked["id"].as_str().with_context(|| answer.text())?.to_owned();
        let ended = self.ended(&id, begun)?;
        let whole = begun.elapsed();
        ensure!(ended["state"] == "success", "the build is {ended}");
        let steps = self.steps(&id)?;
        let took = |names: &[&str]| {
            let of = steps.iter().filter(|(step, _)| names.contains(&step.as_str()));
            Duration::from_millis(of.map(|(_, took)| took).sum())
        };
        let download = took(&["create_environment", "initialize_module", "pin_versions", "tidy_module"]);
        let compile = took(&["compile"]);
        ensure!(!compile.is_zero(), "no step was called compile: {steps:?}");
        Ok(Timing { resolve, download, compile, whole })
    }

    fn ended(&self, id: &str, begun: Instant) -> anyhow::Result<Value> {
        loop {
            let build = self.get(&format!("/v1/builds/{id}?wait=30"))?;
            if !matches!(build["state"].as_str(), Some("pending" | "building")) {
                return Ok(build);
            }
            ensure!(begun.elapsed() < PATIENCE, "the build is still {build}");
        }
    }

    /// How long each step took, in milliseconds.
    fn steps(&self, id: &str) -> anyhow::Result<Vec<(String, u64)>> {
        let accept = [("accept", "application/x-ndjson")];
        let path = format!("/v1/builds/{id}/events?follow=true");
        let answer = http::request(self.platform.address(), "GET", "localhost", &path, &accept, b"")?;
        let text = answer.text();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let steps: Vec<(String, u64)> = events.filter_map(|event| step(&event)).collect();
        ensure!(!steps.is_empty(), "no step was told of: {text}");
        Ok(steps)
    }

    /// Reads something of the API.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = http::get(self.platform.address(), "localhost", path)?;
        ensure!(answer.status == 200, "{path} answered {}: {}", answer.status, answer.text());
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

/// The end of a step, wherever an event has its words.
fn step(event: &Value) -> Option<(String, u64)> {
    let words = [event, &event["data"]].into_iter().find(|words| words["took_ms"].is_u64())?;
    Some((words["step"].as_str()?.to_owned(), words["took_ms"].as_u64()?))
}

/// This machine's, in Go's word.
pub(super) fn arch() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" }
}
