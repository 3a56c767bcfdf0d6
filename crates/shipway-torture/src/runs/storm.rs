//! The shape that most runs have: parts at work under load, and something that hurts them
//! again and again; then calm, and the checker.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use shipway_stdx::clock::{Clock as _, HostClock};
use tokio::time::Instant;

use crate::check::Violation;
use crate::dice::Dice;
use crate::evidence::Evidence;
use crate::load::{Load, Plan};
use crate::paper::{PaperWorld, State};
use crate::part::Config;
use crate::report::{Kill, Report};
use crate::scene::{Scene, Victim, Wrapping, until};

/// Who asks at once.
const ASKERS: u64 = 4;

/// No storm takes longer than this, and so much more for each hurt and each job.
const LONGEST: Duration = Duration::from_secs(120);
const PER_HURT: Duration = Duration::from_secs(5);
const PER_JOB: Duration = Duration::from_millis(500);

/// Requests that must be acknowledged between two hurts, so that each meets work.
const BETWEEN: usize = 8;

/// Parts under load.
#[derive(Debug)]
pub(super) struct Storm {
    /// Its name, for people.
    pub(super) run: String,
    pub(super) scene: Scene,
    pub(super) parts: Vec<(Config, Wrapping)>,
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    /// Requests that are to be acknowledged at least.
    pub(super) jobs: usize,
    /// How often it hurts.
    pub(super) times: usize,
}

/// What can be hurt.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) scene: &'a Scene,
    pub(super) load: &'a Load,
    pub(super) victims: Vec<Victim>,
    pub(super) kills: Vec<Kill>,
    pub(super) dice: Dice,
}

impl Field<'_> {
    /// The one of this name, taken out.
    pub(super) fn named(&mut self, name: &str) -> anyhow::Result<Victim> {
        let place = self.victims.iter().position(|victim| victim.config.name == name);
        Ok(self.victims.swap_remove(place.with_context(|| format!("there is no part {name}"))?))
    }

    /// Any of them, taken out.
    pub(super) fn any(&mut self) -> Victim {
        let place = self.dice.below(self.victims.len());
        self.victims.swap_remove(place)
    }

    /// Puts a new life of it in.
    pub(super) fn again(&mut self, config: &Config, wrapping: &Wrapping) -> anyhow::Result<()> {
        self.victims.push(Victim::wrapped(config, wrapping)?);
        Ok(())
    }

    /// Kills any of them, and starts it again.
    pub(super) fn kill_any(&mut self) -> anyhow::Result<()> {
        let victim = self.any();
        let (config, wrapping) = (victim.config.clone(), victim.wrapping.clone());
        self.kills.push(Kill { worker: config.name.clone(), at: HostClock.now() });
        victim.kill()?;
        self.again(&config, &wrapping)
    }

    /// Lets a container die that runs in any of the worlds, if there is one.
    pub(super) fn crash_any(&mut self) -> anyhow::Result<()> {
        let place = self.dice.below(self.victims.len());
        let world = PaperWorld::open(&self.victims[place].config.world)?;
        let running: Vec<_> = world.papers()?.into_iter().filter(|paper| paper.state == State::Running).collect();
        if !running.is_empty() {
            world.crash(self.dice.one_of(&running).container)?;
        }
        Ok(())
    }

    /// Waits until more was acknowledged.
    pub(super) async fn wait_for_work(&self) -> anyhow::Result<()> {
        let wanted = self.scene.ledger.acknowledged() + BETWEEN;
        let enough = async || (self.scene.ledger.acknowledged() >= wanted).then_some(());
        until("more is acknowledged", crate::scene::PATIENCE, enough).await
    }
}

impl Storm {
    /// Hurts under load, so often; then lets everything settle, and checks. What is kept of
    /// the evidence is decided by the caller, who may know more.
    pub(super) async fn rage(
        self,
        mut hurt: impl AsyncFnMut(&mut Field<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Report, Evidence, Scene)> {
        let begun = Instant::now();
        let Self { run, scene, parts, plan, dice, jobs, times } = self;
        let load = &Load::new(plan);
        let mut field = Field { scene: &scene, load, victims: Vec::new(), kills: Vec::new(), dice: dice.fork(0) };
        for (config, wrapping) in &parts {
            field.again(config, wrapping)?;
        }
        ready(&mut field.victims).await?;
        let sockets = asked(&parts);
        let (hurts, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let is_enough = || scene.ledger.acknowledged() >= jobs && hurts.load(Ordering::Relaxed) >= times;
        // Where nothing comes of it nobody asks for ever.
        let limit = LONGEST + (PER_HURT * u32::try_from(times)?) + PER_JOB * u32::try_from(jobs)?;
        let enough = || is_enough() || failed.load(Ordering::Relaxed) || begun.elapsed() > limit;
        let asking = (0..ASKERS).map(|asker| load.run(&sockets, &scene.ledger, dice.fork(asker + 1), enough));
        let hurting = async {
            for time in 1..=times {
                let done = hurt(&mut field).await;
                // Whoever asks must not wait for more.
                failed.store(done.is_err(), Ordering::Relaxed);
                done?;
                hurts.store(time, Ordering::Relaxed);
            }
            Ok::<_, anyhow::Error>(())
        };
        let (hurting, asking) = tokio::join!(hurting, futures_util::future::try_join_all(asking));
        asking.and(hurting)?;
        anyhow::ensure!(is_enough(), "too little was acknowledged within {} s", limit.as_secs());
        let Field { mut victims, kills, .. } = field;
        ready(&mut victims).await?;
        let settled = scene.settle(&victims[0].config.socket).await;
        let mut stopped = Vec::new();
        for victim in victims {
            stopped.push(victim.stop().await);
        }
        let evidence = scene.evidence().await?;
        let mut report = Report::of(&run, &evidence, &kills);
        let failed = stopped.into_iter().filter_map(Result::err);
        report.add(failed.map(|error| Violation::new("run", format!("{error:#}"))));
        report.kills = times;
        report.add(settled.err().map(|error| Violation::new("I1", format!("{error:#}"))));
        report.took(begun.elapsed());
        Ok((report, evidence, scene))
    }

    /// The same, and keeps the evidence if something was wrong.
    pub(super) async fn check(
        self,
        hurt: impl AsyncFnMut(&mut Field<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Report> {
        let (mut report, _, scene) = self.rage(hurt).await?;
        report.keep(scene);
        Ok(report)
    }
}

/// Where requests go: to the parts that do nothing else, where there are some.
fn asked(parts: &[(Config, Wrapping)]) -> Vec<PathBuf> {
    let apis = parts.iter().any(|(config, _)| !config.works);
    parts.iter().filter(|(config, _)| !(apis && config.works)).map(|(config, _)| config.socket.clone()).collect()
}

async fn ready(victims: &mut [Victim]) -> anyhow::Result<()> {
    for victim in victims {
        victim.ready().await?;
    }
    Ok(())
}
