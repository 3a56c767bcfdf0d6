//! Who is hurt, how, and how often.

mod builds;
mod clock;
mod database;
mod disk;
mod kills;
mod leaving;
mod mutants;
mod neighbour;
mod platform;
mod poison;
mod storm;
mod syscalls;
mod upgrade;
mod zombies;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::OnceLock;

use tokio::time::Instant;

use crate::check::Violation;
use crate::dice::Dice;
use crate::report::Report;
use crate::scene::abandoned;

/// What every run is told.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// The numbers of a night, not those of CI.
    pub long: bool,
}

impl Stage {
    /// The one number or the other.
    #[must_use]
    pub const fn size(&self, ci: usize, long: usize) -> usize {
        if self.long { long } else { ci }
    }

    /// Chance, of one run's own.
    #[must_use]
    pub const fn dice(&self) -> Dice {
        Dice::new(self.seed)
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Report>>> + 'a>>;

/// A run: its id, what it does, and how.
#[derive(Debug)]
pub struct Run {
    /// As in the table of the reliability page.
    pub id: &'static str,
    /// For people.
    pub about: &'static str,
    run: fn(&Stage) -> Running<'_>,
}

/// Every run, in the order in which they are made.
pub const RUNS: &[Run] = &[
    Run {
        id: "R1",
        about: "kill -9 of a random part under load, on both databases",
        run: |stage| Box::pin(kills::run(stage)),
    },
    Run {
        id: "R2",
        about: "kill -9 at each write, sync, rename and send of one deploy",
        run: |stage| Box::pin(syscalls::run(stage)),
    },
    Run { id: "R3", about: "stopped past the lease, outlived, continued", run: |stage| Box::pin(zombies::run(stage)) },
    Run {
        id: "R4",
        about: "PostgreSQL restarted, cut off, crowded, pooled, and silent",
        run: |stage| Box::pin(database::run(stage)),
    },
    Run {
        id: "R6",
        about: "disks that are full, without inodes, read-only; calls that fail",
        run: |stage| Box::pin(disk::run(stage)),
    },
    Run {
        id: "R7",
        about: "clocks that are wrong by an hour and a day, and jump",
        run: |stage| Box::pin(clock::run(stage)),
    },
    Run {
        id: "R9",
        about: "two versions at once: upgraded and gone back under load, migrations killed",
        run: |stage| Box::pin(upgrade::run(stage)),
    },
    Run {
        id: "R11",
        about: "a project that floods the queue, and one that does not",
        run: |stage| Box::pin(neighbour::run(stage)),
    },
    Run {
        id: "R12",
        about: "asked to stop under load, once and twice",
        run: |stage| Box::pin(leaving::stopped(stage)),
    },
    Run {
        id: "R14",
        about: "told under load that the machine will be taken away",
        run: |stage| Box::pin(leaving::preempted(stage)),
    },
    Run {
        id: "platform",
        about: "R1 with the real binary: serve, proxy, launcher and shims killed in turn",
        run: |stage| Box::pin(platform::run(stage)),
    },
    Run {
        id: "builds",
        about: "R1 and R8 with real Go builds: their workers killed and stopped, S3 failing",
        run: |stage| Box::pin(builds::run(stage)),
    },
    Run {
        id: "poison",
        about: "a task that kills each worker, and one of a later version",
        run: |stage| Box::pin(poison::run(stage)),
    },
    Run {
        id: "mutants",
        about: "the store with one rule left out: each must be caught",
        run: |stage| Box::pin(mutants::run(stage)),
    },
];

impl Run {
    /// Makes it. What goes wrong with making it is a violation too.
    pub async fn make(&self, stage: &Stage) -> Vec<Report> {
        let begun = Instant::now();
        match (self.run)(stage).await {
            Ok(reports) => reports,
            Err(error) => {
                let mut report = Report::plain(self.id);
                report.took(begun.elapsed());
                report.add([Violation::new("run", format!("{error:#}"))]);
                report.kept = abandoned();
                vec![report]
            }
        }
    }
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says which program plays the parts, where it is not the running one: in tests.
pub fn play_with(program: &Path) {
    PROGRAM.get_or_init(|| program.to_owned());
}

pub(crate) fn program() -> Option<&'static Path> {
    PROGRAM.get().map(PathBuf::as_path)
}
