//! Who asks for deploys, and who visits.
//!
//! Each version of a service answers its own number. A version whose deploy was answered
//! is the floor: nobody who asks after that may see an older one. One that was merely
//! acknowledged must be there, or be followed by a later one, in the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shipway_testkit::{FileServer, http};

use super::left::{rest, within};
use crate::check::Violation;
use crate::report::Report;

/// Between two visits of one visitor, and after a deploy that was refused.
const PAUSE: Duration = Duration::from_millis(20);

/// Everything is as it should be within this, after the last kill.
const PATIENCE: Duration = Duration::from_secs(90);

/// Services, as askers and visitors know them.
#[derive(Debug)]
pub(super) struct Town {
    address: SocketAddr,
    services: Vec<Known>,
    seen: Mutex<BTreeMap<String, usize>>,
    wrong: Mutex<Vec<String>>,
}

/// Versions of one service; 0 is none.
#[derive(Debug, Default)]
struct Known {
    /// Asked for, at the latest.
    asked: AtomicUsize,
    /// Acknowledged, at the latest.
    acknowledged: AtomicUsize,
    /// Answered as live, at the latest.
    live: AtomicUsize,
    /// Acknowledged, in number.
    jobs: AtomicUsize,
}

impl Town {
    pub(super) fn new(address: SocketAddr, services: usize) -> Self {
        let services = (0..services).map(|_| Known::default()).collect();
        Self { address, services, seen: Mutex::default(), wrong: Mutex::default() }
    }

    /// Waits until every service answers what was acknowledged last, and reports.
    pub(super) fn settle(&self, report: &mut Report) {
        for (n, known) in self.services.iter().enumerate() {
            let wanted = known.acknowledged.load(Ordering::Relaxed);
            let asked = known.asked.load(Ordering::Relaxed);
            report.jobs += known.jobs.load(Ordering::Relaxed);
            let mut last = None;
            let arrived = within(PATIENCE, || {
                last = self.look(n);
                last.filter(|version| (wanted..=asked).contains(version))
            });
            if arrived.is_none() {
                let what = format!("service-{n}: version {wanted} was acknowledged, {last:?} is there");
                report.add([Violation::new("I1", what)]);
            }
        }
        report.add(lock(&self.wrong).iter().map(|what| Violation::new("visitor", what)));
        report.must(report.jobs > 0, "nothing was acknowledged");
        report.note(format!("visitors saw {:?}", *lock(&self.seen)));
    }

    fn look(&self, n: usize) -> Option<usize> {
        let answer = http::get(self.address, &format!("service-{n}.localhost"), "/").ok()?;
        if answer.status == 200 { version(&answer.text()) } else { None }
    }

    fn saw(&self, what: &str) {
        *lock(&self.seen).entry(what.to_owned()).or_default() += 1;
    }
}

fn version(text: &str) -> Option<usize> {
    text.strip_prefix("version ")?.trim_end().parse().ok()
}

/// Asks for one version after the other of one service.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) town: &'a Town,
    pub(super) files: &'a FileServer,
    pub(super) service: usize,
}

impl Asker<'_> {
    pub(super) fn ask_until(&self, stop: &AtomicBool) {
        let known = &self.town.services[self.service];
        for version in 1.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            known.asked.store(version, Ordering::Relaxed);
            // Every second one waits until it is live.
            match self.deploy(version, if version % 2 == 0 { 0 } else { 60 }) {
                Some(200 | 201) => {
                    known.acknowledged.store(version, Ordering::Relaxed);
                    known.live.store(version, Ordering::Relaxed);
                    known.jobs.fetch_add(1, Ordering::Relaxed);
                }
                Some(202) => {
                    known.acknowledged.store(version, Ordering::Relaxed);
                    known.jobs.fetch_add(1, Ordering::Relaxed);
                }
                other => {
                    self.town.saw(&format!("deploy {other:?}"));
                    rest(PAUSE);
                }
            }
        }
    }

    fn deploy(&self, version: usize, wait: u32) -> Option<u16> {
        let n = self.service;
        let url = self.files.put(&format!("/{n}/{version}"), &format!("version {version}\n"));
        let body = serde_json::json!({"url": url}).to_string();
        let path = format!("/v1/services/service-{n}?wait={wait}");
        let headers = [("content-type", "application/json")];
        let answer = http::request(self.town.address, "PUT", "localhost", &path, &headers, body.as_bytes());
        answer.ok().map(|answer| answer.status)
    }
}

/// Asks one service again and again.
#[derive(Debug)]
pub(super) struct Visitor<'a> {
    pub(super) town: &'a Town,
    pub(super) service: usize,
}

impl Visitor<'_> {
    pub(super) fn visit_until(&self, stop: &AtomicBool) {
        let (n, known) = (self.service, &self.town.services[self.service]);
        let host = format!("service-{n}.localhost");
        while !stop.load(Ordering::Relaxed) {
            let floor = known.live.load(Ordering::Relaxed);
            match http::get(self.town.address, &host, "/") {
                Ok(answer) if answer.status == 200 => self.judge(&answer.text(), floor),
                Ok(answer) => self.town.saw(&answer.status.to_string()),
                Err(error) => self.town.saw(&error.kind().to_string()),
            }
            rest(PAUSE);
        }
    }

    fn judge(&self, text: &str, floor: usize) {
        let most = self.town.services[self.service].asked.load(Ordering::Relaxed);
        match version(text) {
            Some(version) if (floor..=most).contains(&version) => self.town.saw("200"),
            other => {
                let n = self.service;
                let what = format!("service-{n} answered {text:?} ({other:?}), while {floor} to {most} may be live");
                lock(&self.town.wrong).push(what);
            }
        }
    }
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
