//! Makes the cache that builds stand on, in the background: nobody waits for it, and while it
//! is missing builds take minutes instead of seconds.
//!
//! An operator may name the programs it is made of; they are settled and made at a worker's
//! start, and once a day after that, since `latest` moves. Otherwise it is made of whatever was built
//! without one, alone: of nobody's plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shipway_gobuild::request::Query;
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::{Plan, Recipe, Request, Spec};
use shipway_stdx::shutdown::{self, Shutdown, ShutdownSender};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Farming;
use crate::core::Core;

/// How long a cache of named programs is good for: `latest` may be another one then.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// After a try in vain.
const AFTER_TROUBLE: Duration = Duration::from_secs(5 * 60);
/// Longest the version of one program is looked for.
const RESOLVE_LIMIT: Duration = Duration::from_secs(120);

/// What the cache of builds is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warm {
    /// There is none.
    Nothing,
    /// What was built without one.
    WhatIsBuilt,
    /// These programs, each at a version.
    Named(Vec<(Recipe, Query)>),
}

/// Makes it; one at a time.
#[derive(Debug)]
pub struct Warmer {
    what: Warm,
    is_at_work: Arc<AtomicBool>,
    tasks: TaskTracker,
    stop: (ShutdownSender, Shutdown),
}

impl Warmer {
    /// Nothing is made before a worker works.
    #[must_use]
    pub fn new(what: Warm) -> Self {
        Self { what, is_at_work: Arc::default(), tasks: TaskTracker::new(), stop: shutdown::channel() }
    }

    /// Ends one that is under way, and waits until nothing of it runs any more.
    pub(crate) async fn end(&self) {
        self.stop.0.request();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Farming {
    /// Makes a cache of a program that was built without one, so that its next build takes seconds. When
    /// it fails the next cold build tries again.
    pub(crate) fn warm_soon(&self, spec: &Spec) {
        if self.warmer.what != Warm::WhatIsBuilt {
            return;
        }
        let alone = self.alone(spec);
        if self.warmer.is_at_work.swap(true, Ordering::SeqCst) {
            return;
        }
        let making = self.make_cache(alone.into_iter().collect());
        let is_at_work = Arc::clone(&self.warmer.is_at_work);
        self.warmer.tasks.spawn(async move {
            making.await;
            is_at_work.store(false, Ordering::SeqCst);
        });
    }

    /// The program of a spec without anything that somebody asked for, for this machine.
    fn alone(&self, spec: &Spec) -> Option<Plan> {
        let mut alone = spec.clone();
        alone.resolved.plugins.clear();
        alone.resolved.replacements.clear();
        alone.resolved.platform = self.settings.host.clone()?;
        Some(Plan::make(&alone.recipe, &alone.resolved, &self.settings))
    }

    /// Says whether it was made.
    fn make_cache(&self, plans: Vec<Plan>) -> impl Future<Output = bool> + Send + use<> {
        let (farm, caches, go) = (self.farm.clone(), Arc::clone(&self.caches), self.settings.go.clone());
        let stop = self.warmer.stop.1.clone();
        async move {
            let (events, mut heard) = mpsc::channel(64);
            let nobody = async { while heard.recv().await.is_some() {} };
            let (warmed, ()) = tokio::join!(caches.warm(&farm, &go, &plans, events, stop.clone()), nobody);
            match warmed {
                Ok(cache) => tracing::info!(%cache, "builds have a warm cache"),
                Err(_) if stop.is_requested() => return false,
                Err(failure) => {
                    tracing::warn!(%failure, lines = ?failure.lines, "no warm cache for builds");
                    return false;
                }
            }
            true
        }
    }

    /// What the named programs are now.
    async fn named(&self, programs: &[(Recipe, Query)]) -> Option<Vec<Plan>> {
        let platform = self.settings.host.clone()?;
        let resolver = Resolver::new(self.proxies.clone(), RESOLVE_LIMIT);
        let mut plans = Vec::new();
        for (recipe, version) in programs {
            let request = Request {
                recipe: recipe.name.clone(),
                version: version.clone(),
                plugins: Vec::new(),
                replacements: Vec::new(),
                platform: platform.clone(),
            };
            match resolver.resolve(recipe, &request).await {
                Ok(resolved) => plans.push(Plan::make(recipe, &resolved, &self.settings)),
                Err(error) => {
                    tracing::warn!(recipe = recipe.name, %error, "no warm cache for builds: `builds.warm` cannot be settled");
                    return None;
                }
            }
        }
        Some(plans)
    }
}

/// Keeps a cache of the named programs, if any are named.
pub(crate) async fn keep_warm(core: Arc<Core>, stop: CancellationToken) {
    let Some(farming) = &core.farming else { return };
    let Warm::Named(programs) = &farming.warmer.what else { return };
    loop {
        let settled = stop.run_until_cancelled(farming.named(programs)).await;
        let Some(settled) = settled else { return };
        let is_made = match settled {
            // To its end, which a stop brings about.
            Some(plans) => farming.make_cache(plans).await,
            None => false,
        };
        let pause = if is_made { AGAIN_AFTER } else { AFTER_TROUBLE };
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}
