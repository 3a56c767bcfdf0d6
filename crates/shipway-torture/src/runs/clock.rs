//! R7: hosts whose clocks are wrong by an hour and by a day, both ways, and jump.
//!
//! On PostgreSQL the workers' clocks are wrong and the server's is not: leases go by the
//! server's. On SQLite the process's clock is the database's, and it is another one after
//! each kill.

use super::storm::Storm;
use super::{Stage, kills};
use crate::load::Plan;
use crate::report::Report;
use crate::scene::{Base, Scene, Wrapping};

/// What the clocks are wrong by.
const SHIFTS: [&str; 6] = ["+1h", "-1h", "+1d", "-1d", "+0", "-1h"];

/// Shifts the clock of a program, not its sense of how long something takes.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub(super) async fn run(stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let library = std::path::Path::new(LIBRARY);
    anyhow::ensure!(library.exists(), "{LIBRARY} is missing: scripts/setup.sh test");
    let mut reports = Vec::new();
    for base in Base::BOTH {
        let mut scene = Scene::new(base)?;
        let mut parts = kills::parts(&mut scene, base)?;
        for ((_, wrapping), shift) in parts.iter_mut().zip(SHIFTS) {
            *wrapping = shifted(shift);
        }
        let storm = Storm {
            run: format!("R7 {}", base.word()),
            scene,
            parts,
            plan: Plan::mixed("r7", 5),
            dice: stage.dice(),
            jobs: 100,
            times: stage.size(6, 60),
        };
        let mut time = 0;
        let report = storm.check(async |field| {
            field.wait_for_work().await?;
            time += 1;
            let victim = field.any();
            let config = victim.config.clone();
            field.kills.push(crate::report::Kill { worker: config.name.clone(), at: 0 });
            victim.kill()?;
            field.again(&config, &shifted(SHIFTS[time % SHIFTS.len()]))
        });
        reports.push(report.await?);
    }
    Ok(reports)
}

fn shifted(shift: &str) -> Wrapping {
    let set = [("LD_PRELOAD", LIBRARY), ("FAKETIME", shift), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let environment = set.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Wrapping { environment, ..Wrapping::default() }
}
