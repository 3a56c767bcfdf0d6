//! R6: disks that are full, have no inode left, or can only be read; and calls that fail as
//! if they were. When it is over, work goes on by itself.
//!
//! The disks are small ones in memory, mounted where only this run and its parts see them.

mod mounts;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream;
use rustix::process::{Pid, kill_process};
use shipway_model::FailureCode;
use tokio::time::{Instant, sleep};

use super::storm::{Field, Storm};
use super::syscalls::{self, Point, Template, Trial};
use super::{Stage, kills};
use crate::load::Plan;
use crate::report::Report;
use crate::scene::{Base, PATIENCE, Scene, Signal, Victim, Wrapping, until};
use mounts::Mounts;

/// How long a disk stays as it should not be.
const MEANWHILE: Duration = Duration::from_millis(700);

/// Injected at once.
const AT_ONCE: usize = 3;

/// What fails, and how.
const FAULTS: [(&str, &str); 4] = [
    ("fsync,fdatasync", "error=EIO"),
    ("pwrite64", "error=ENOSPC"),
    ("rename,renameat,renameat2", "error=ENOSPC"),
    ("ftruncate", "error=EIO"),
];

/// Of the faults of one kind CI tries one in so many.
const SAMPLE: usize = 3;

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    // Mounts belong to a thread, and to what it starts.
    let stormed = tokio::task::block_in_place(|| mounts::alone(|| full(stage)))?;
    Ok(vec![stormed, injected(stage).await?])
}

/// How a disk is hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hurt {
    FullDatabase,
    FullFiles,
    NoInodes,
    ReadOnlyFiles,
    /// While nobody has it open: a disk in use cannot be made so.
    ReadOnlyDatabase,
}

const HURTS: [Hurt; 8] = [
    Hurt::FullDatabase,
    Hurt::FullFiles,
    Hurt::NoInodes,
    Hurt::ReadOnlyFiles,
    Hurt::ReadOnlyDatabase,
    Hurt::FullDatabase,
    Hurt::NoInodes,
    Hurt::ReadOnlyFiles,
];

async fn full(stage: &Stage) -> anyhow::Result<Report> {
    let mounts = Mounts::make()?;
    let mut scene = Scene::on_disks(&mounts.database, &mounts.files)?;
    let parts = kills::parts(&mut scene, Base::Sqlite)?;
    let plan = Plan::mixed("r6", 10);
    let run = "R6 sqlite disks".to_owned();
    let storm = Storm { run, scene, parts, plan, dice: stage.dice(), jobs: 0, times: stage.size(8, 80) };
    let mut time = 0;
    let raged = storm.rage(async |field| {
        field.wait_for_work().await?;
        let hurt = HURTS[time % HURTS.len()];
        time += 1;
        apply(hurt, &mounts, field).await.with_context(|| format!("{hurt:?}"))
    });
    let (mut report, evidence, scene) = raged.await?;
    // A disk that stays full longer than a task is tried fails it, in these words.
    let honest = [FailureCode::StorageUnavailable, FailureCode::EngineUnavailable];
    let excused = report.excuse(&evidence, &honest);
    report.note(format!("{excused} tasks failed because the disk stayed as it was for longer than they are tried"));
    report.keep(scene);
    Ok(report)
}

async fn apply(hurt: Hurt, mounts: &Mounts, field: &mut Field<'_>) -> anyhow::Result<()> {
    match hurt {
        Hurt::FullDatabase => full_for_a_while(&mounts.database).await,
        Hurt::FullFiles => full_for_a_while(&mounts.files).await,
        Hurt::NoInodes => no_inodes_for_a_while(&mounts.files).await,
        Hurt::ReadOnlyFiles => {
            until("nobody writes just now", PATIENCE, async || mounts::read_only(&mounts.files, true).ok()).await?;
            sleep(MEANWHILE).await;
            mounts::read_only(&mounts.files, false)
        }
        Hurt::ReadOnlyDatabase => {
            let victim = field.any();
            let (config, wrapping) = (victim.config.clone(), victim.wrapping.clone());
            victim.kill()?;
            mounts::read_only(&mounts.database, true)?;
            field.again(&config, &wrapping)?;
            sleep(MEANWHILE).await;
            mounts::read_only(&mounts.database, false)
        }
    }
}

async fn full_for_a_while(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("filler");
    let mut file = File::create(&path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    sleep(MEANWHILE).await;
    Ok(fs::remove_file(path)?)
}

async fn no_inodes_for_a_while(folder: &Path) -> anyhow::Result<()> {
    let fillers = folder.join("fillers");
    fs::create_dir(&fillers)?;
    let mut made = 0;
    while File::create(fillers.join(made.to_string())).is_ok() {
        made += 1;
    }
    sleep(MEANWHILE).await;
    Ok(fs::remove_dir_all(fillers)?)
}

/// A call of one deploy fails, again and again for a while: `strace` counts the calls of
/// each thread, and a database that is opened anew has new threads. Then it is over, and
/// the process that met it finishes.
async fn injected(stage: &Stage) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let template = Template::make(Base::Sqlite, None).await?;
    let mut faults = Vec::new();
    for (calls, error) in FAULTS {
        let points = syscalls::points(&template, calls).await?;
        let every = if stage.long { 1 } else { SAMPLE };
        faults.extend(points.into_iter().step_by(every).map(|point| (point, error)));
    }
    let trials = faults.iter().map(|(point, error)| fault(&template, point, error));
    let trials: Vec<anyhow::Result<Trial>> = stream::iter(trials).buffered(AT_ONCE).collect().await;
    let mut report = Report::plain("R6 sqlite calls");
    let mut ended = 0;
    for trial in trials {
        let trial = trial?;
        ended += usize::from(trial.killed);
        report.jobs += trial.jobs;
        report.kept.extend(trial.kept);
        report.add(trial.violations);
    }
    report.kills = faults.len();
    report.note(format!("of {} failed calls {ended} ended the process, and the next one finished", faults.len()));
    template.discard();
    report.must(ended * 4 < faults.len(), "too many of the processes ended");
    report.took(begun.elapsed());
    Ok(report)
}

/// Lets a worker meet a fault, for a while at most; then one that meets nothing looks.
async fn fault(template: &Template, point: &Point, error: &str) -> anyhow::Result<Trial> {
    let mut scene = template.copy()?;
    let Point { call, number } = point;
    let inject = format!("inject={call}:{error}:when={number}");
    // `-D`: the worker is our own child, and goes on when its tracer is sent
    // away, which `-I1` allows.
    let words = ["strace", "-D", "-I1", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
    let before = words.map(str::to_owned).to_vec();
    let first = template.worker(&mut scene, "first")?;
    let mut victim = Victim::wrapped(&first, &Wrapping { before, ..Wrapping::default() })?;
    let status = match victim.wait(MEANWHILE).await {
        Ok(status) => status,
        Err(_still_there) => {
            send_tracer_away(victim.pid());
            victim.wait(PATIENCE).await.with_context(|| format!("{point:?} {error}"))?
        }
    };
    let mut trial = template.finish(scene, &format!("{point:?} {error}")).await?;
    trial.killed = !status.success();
    Ok(trial)
}

fn send_tracer_away(pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok());
    if let Some(tracer) = tracer.and_then(Pid::from_raw) {
        // It may have gone together with what it traced.
        kill_process(tracer, Signal::TERM).ok();
    }
}
