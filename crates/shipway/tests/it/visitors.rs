//! Visitors who ask without pause while something happens to the platform.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shipway_testkit::{http, wait_until};

use crate::world::{SOON, World};

pub(crate) struct Visitors {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Experience>>,
}

/// How it was.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    /// Every answer that was not a good one, and every connection without one.
    pub(crate) failures: Vec<String>,
    /// The longest time that one visitor was without a good answer.
    pub(crate) longest_silence: Duration,
}

impl Visitors {
    /// Sends so many, and waits until they have been answered a few times.
    pub(crate) fn start(world: &World, service: &str, count: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        for _ in 0..count {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (address, host) = (world.platform.address(), format!("{service}.localhost"));
            threads.push(std::thread::spawn(move || {
                let mut experience = Experience::default();
                let mut last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    match http::get(address, &host, "/") {
                        Ok(answer) if answer.status == 200 => {
                            experience.longest_silence = experience.longest_silence.max(last.elapsed());
                            last = Instant::now();
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => experience.failures.push(format!("{}: {}", answer.status, answer.text())),
                        Err(error) => experience.failures.push(error.to_string()),
                    }
                }
                experience.longest_silence = experience.longest_silence.max(last.elapsed());
                experience
            }));
        }
        let visitors = Self { stop, answered, threads };
        visitors.wait_for_more(20);
        visitors
    }

    #[track_caller]
    pub(crate) fn wait_for_more(&self, more: u64) {
        let now = self.answered.load(Ordering::Relaxed);
        wait_until("more good answers", SOON, || (self.answered.load(Ordering::Relaxed) >= now + more).then_some(()));
    }

    pub(crate) fn end(self) -> Experience {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.threads.into_iter().map(|thread| thread.join().unwrap());
        all.fold(Experience::default(), |mut sum, one| {
            sum.failures.extend(one.failures);
            sum.longest_silence = sum.longest_silence.max(one.longest_silence);
            sum
        })
    }
}
