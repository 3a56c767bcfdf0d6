//! What `cargo xtask bench start exec` measures: `cycle MODE COUNT TREE`.
//!
//! Each cycle prints its microseconds on a line; opening the engine and the first
//! cycles, which fill caches, are not counted. Containers come from a root file system at
//! TREE, with every isolation, and run `/bin/true`. By MODE:
//!
//! * `start`: made, started, its end seen, its status kept, removed, and all it left
//!   cleaned up.
//! * `warm`: a loop whose every round starts a container that was prepared in the round
//!   before, and then makes and prepares the next. Printed is the container's time from
//!   its start until all it left is cleaned up.
//! * `rounds`: the same loop, but a whole round of it is printed, refill and all.
//! * `contended`: as `warm`, but the next is made and prepared at the same time as this
//!   one runs, on the same processors.
//! * `crowd`: COUNT cycles of `start` alone, then COUNT beside 999 that sleep.
//! * `exec`: `/bin/true` in one running container.
//! * `filter`: no cycles; writes the compiled seccomp program to TREE.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shipway_engine::{
    ContainerSpec, Engine, EngineConfig, ExecOutput, ExecSpec, Ingress, Limits, LogLimits, Network, Process, Root,
    Tmpfs,
};

use shipway_stdx::fs::{Durability, write_atomic};

const RUN_PARENT: &str = "/run/shipway-bench";
/// The user that may open sockets; there are none here.
const PROXY: u32 = 4711;
/// Cycles before those that count.
const WARM_UP: usize = 5;
/// Sleeping containers of a crowd.
const CROWD: usize = 999;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, count, tree] = words.as_slice() else { return Err("cycle MODE COUNT TREE".into()) };
    let (count, tree) = (count.parse()?, Path::new(tree));
    if mode == "filter" {
        return Ok(write_atomic(tree, &shipway_engine::seccomp_program(), 0o644, Durability::Process)?);
    }
    let folder = tempfile::TempDir::with_prefix("shipway-cycle-")?;
    let mut config = EngineConfig::new(folder.path().join("engine"), RUN_PARENT, PROXY);
    config.sources.push(tree.to_owned());
    let engine = Engine::open(config).await?;
    let measured = match mode.as_str() {
        "start" => starts(&engine, tree, count).await,
        "warm" => warm(&engine, tree, count, false).await.map(|(warm, _)| warm),
        "rounds" => warm(&engine, tree, count, false).await.map(|(_, rounds)| rounds),
        "contended" => warm(&engine, tree, count, true).await.map(|(warm, _)| warm),
        "crowd" => crowd(&engine, tree, count).await,
        "exec" => execs(&engine, tree, count).await,
        _ => Err(format!("there is no mode `{mode}`").into()),
    };
    engine.close().await;
    for took in measured? {
        writeln!(stdout(), "{}", took.as_micros())?;
    }
    Ok(())
}

async fn starts(engine: &Engine, tree: &Path, count: usize) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..count + WARM_UP {
        let id = format!("cycle-{n}");
        let spec = spec(tree, &id, &["/bin/true"]);
        let begun = Instant::now();
        engine.create(spec).await?;
        run(engine, &id).await?;
        times.push(begun.elapsed());
    }
    Ok(times.split_off(WARM_UP))
}

/// From its start until all it left is cleaned up.
async fn run(engine: &Engine, id: &str) -> Outcome<Duration> {
    let begun = Instant::now();
    engine.start(id).await?;
    let exited = engine.wait(id).await?;
    engine.remove(id).await?;
    engine.settle().await;
    let took = begun.elapsed();
    match exited.code {
        Some(0) => Ok(took),
        _ => Err(format!("/bin/true ended with {exited:?}").into()),
    }
}

/// The warm containers' times, and the whole rounds'.
async fn warm(engine: &Engine, tree: &Path, count: usize, at_once: bool) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let id = |n: usize| format!("cycle-{n}");
    let prepare = async |n: usize| -> Outcome<()> {
        engine.create(spec(tree, &id(n), &["/bin/true"])).await?;
        Ok(engine.prepare(&id(n)).await?)
    };
    prepare(0).await?;
    let (mut times, mut rounds) = (Vec::new(), Vec::new());
    for n in 0..count + WARM_UP {
        let begun = Instant::now();
        let this = id(n);
        let (took, prepared) = if at_once {
            tokio::join!(run(engine, &this), prepare(n + 1))
        } else {
            (run(engine, &this).await, prepare(n + 1).await)
        };
        prepared?;
        times.push(took?);
        rounds.push(begun.elapsed());
    }
    engine.remove(&id(count + WARM_UP)).await?;
    Ok((times.split_off(WARM_UP), rounds.split_off(WARM_UP)))
}

async fn crowd(engine: &Engine, tree: &Path, count: usize) -> Outcome<Vec<Duration>> {
    let id = |n: usize| format!("crowd-{n}");
    let mut times = starts(engine, tree, count).await?;
    for n in 0..CROWD {
        engine.create(spec(tree, &id(n), &["/bin/sleep", "1000"])).await?;
        engine.start(&id(n)).await?;
    }
    times.extend(starts(engine, tree, count).await?);
    for n in 0..CROWD {
        engine.stop(&id(n), Duration::ZERO).await?;
        engine.remove(&id(n)).await?;
    }
    Ok(times)
}

async fn execs(engine: &Engine, tree: &Path, count: usize) -> Outcome<Vec<Duration>> {
    let id = "sleeper";
    engine.create(spec(tree, id, &["/bin/sleep", "1000"])).await?;
    engine.start(id).await?;
    let mut times = Vec::new();
    for _ in 0..count + WARM_UP {
        let begun = Instant::now();
        let status = exec(engine, id).await?;
        times.push(begun.elapsed());
        if status != Some(0) {
            return Err(format!("/bin/true ended with {status:?}").into());
        }
    }
    engine.stop(id, Duration::ZERO).await?;
    engine.remove(id).await?;
    Ok(times.split_off(WARM_UP))
}

async fn exec(engine: &Engine, id: &str) -> Outcome<Option<i32>> {
    let spec = ExecSpec { argv: vec!["/bin/true".to_owned()], env: Vec::new(), cwd: None, terminal: None };
    let mut session = engine.exec(id, spec).await?;
    while let Some(output) = session.output.recv().await {
        if let ExecOutput::Exited(status) = output {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

fn spec(tree: &Path, id: &str, argv: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: id.to_owned(),
        labels: [("bench".to_owned(), "cycle".to_owned())].into(),
        root: Root::Tree { path: tree.to_owned(), scratch: Tmpfs { size_bytes: 4 << 20, inodes: 200 } },
        process: Process {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec!["PATH=/bin".to_owned()],
            cwd: PathBuf::from("/"),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            capabilities: 0,
            rlimits: Vec::new(),
            terminal: false,
        },
        binds: Vec::new(),
        files: Vec::new(),
        hostname: None,
        limits: Limits { memory_bytes: 64 << 20, cpu_millis: 2000, pids: 32 },
        network: Network::None { address: None },
        egress: None,
        ingress: Ingress::None,
        log: LogLimits { segment_bytes: 64 << 10, segments: 4 },
    }
}
