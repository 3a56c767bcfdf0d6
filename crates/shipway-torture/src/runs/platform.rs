//! R1 once more, smaller, with the real thing: `shipway serve`, its proxy, its launcher and
//! its shims are killed in turn, while deploys are asked for and visitors ask.
//!
//! Containers, cgroups, mounts and namespaces are real here, and so is what is left of them.

mod actors;
mod left;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shipway_testkit::{FileServer, Platform, Postgres, Settings};
use tokio::time::Instant;

use super::Stage;
use crate::check::Violation;
use crate::dice::Dice;
use crate::report::Report;
use crate::scene::Base;
use actors::{Asker, Town, Visitor};
pub(super) use left::left_behind;
use left::{children_of, kill_9, processes_with, shims};

/// Between two kills.
const PAUSE_LEAST: Duration = Duration::from_millis(300);
const PAUSE_MOST: Duration = Duration::from_millis(900);

/// Services that are deployed again and again.
const SERVICES: usize = 3;

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for base in Base::BOTH {
        reports.push(tokio::task::block_in_place(|| torture(stage, base))?);
    }
    Ok(reports)
}

/// Beside this program, where cargo puts both.
fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("shipway");
    ensure!(path.exists(), "{} is missing: cargo build -p shipway", path.display());
    Ok(path)
}

fn torture(stage: &Stage, base: Base) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let files = FileServer::start()?;
    let mut environment = vec![("SHIPWAY_FETCH_ALLOW".to_owned(), files.address().to_string())];
    if base == Base::Postgres {
        let server = Postgres::shared();
        environment.push(("DATABASE_URL".to_owned(), server.url(&server.create(None)?)));
    }
    let mut platform = Platform::start(&binary()?, Settings { environment, ..Settings::default() })?;
    let town = Town::new(platform.address(), SERVICES);
    let kills = stage.size(12, 150);
    let stop = AtomicBool::new(false);
    let hurt = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..SERVICES).map(|n| Asker { town: &town, files: &files, service: n }).collect();
        let stop = &stop;
        askers.into_iter().for_each(|asker| drop(scope.spawn(move || asker.ask_until(stop))));
        for service in 0..SERVICES {
            let visitor = Visitor { town: &town, service };
            drop(scope.spawn(move || visitor.visit_until(stop)));
        }
        let hurt = hurt(&mut platform, kills, stage.dice());
        stop.store(true, Ordering::Relaxed);
        hurt
    });
    let mut report = Report::plain(&format!("R1 platform {}", base.word()));
    report.kills = hurt?;
    town.settle(&mut report);
    report.add(too_many(&platform).map(|what| Violation::new("I7", what)));
    let (state, run) = (platform.state_dir(), platform.run_dir());
    let instance = std::fs::read_to_string(state.join("engine/instance")).context("the engine root's id")?;
    let down = platform.down()?;
    report.add((down.code != 0).then(|| Violation::new("run", format!("down: {}", down.stderr))));
    report.add(left_behind(&state, &run, instance.trim())?.into_iter().map(|what| Violation::new("I7", what)));
    report.took(begun.elapsed());
    if !report.violations.is_empty() {
        report.note(format!("the log of serve ends:\n{}", tail(&platform.log())));
    }
    Ok(report)
}

/// Kills what there is in turn. Returns how many kills there were.
fn hurt(platform: &mut Platform, times: usize, mut dice: Dice) -> anyhow::Result<usize> {
    let mut kills = 0;
    for time in 0..times {
        let pause = dice.between(PAUSE_LEAST, PAUSE_MOST);
        left::rest(pause);
        let serve = platform.pid();
        let bin = platform.state_dir().join("engine/bin");
        let victim = match time % 4 {
            0 => {
                platform.kill()?;
                platform.restart()?;
                kills += 1;
                continue;
            }
            1 => processes_with(&format!("proxy --run-dir {}", platform.run_dir().display())),
            2 => children_of(serve, &bin),
            _ => shims(&platform.state_dir()),
        };
        if let Some(pid) = victim.first() {
            kills += usize::from(kill_9(*pid));
        }
    }
    Ok(kills)
}

/// Containers that no service needs: as many may be there as services.
fn too_many(platform: &Platform) -> Option<String> {
    let folder = platform.state_dir().join("engine/containers");
    let count = || std::fs::read_dir(&folder).map(Iterator::count).unwrap_or(0);
    let few = left::within(Duration::from_secs(60), || (count() <= SERVICES).then_some(()));
    few.is_none().then(|| format!("{} containers for {SERVICES} services", count()))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
