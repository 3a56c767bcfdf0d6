//! What `cargo xtask bench start` calls the limit: `limit COUNT TREE FILTER`.
//!
//! The system calls of a start and nothing else: cgroups and their limits, clone with
//! every namespace, id maps, mounts, pivot, everything given up, filter, exec of
//! `/bin/true` in TREE, its end awaited, cgroups removed. The calls are made by the
//! shim's own modules, so that both sides do the same; what is left out is launcher,
//! shim, protocol, log, records and everything of the engine. Prints the microseconds of
//! each of COUNT rounds. FILTER is a file with the compiled seccomp program.
//!
//! Not shipped: an example, at home beside the modules it borrows.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a measurement, for people")]
#![expect(dead_code, reason = "the program's modules offer more than a measurement needs")]

extern crate alloc;

mod container;
mod control;
mod dialer;
mod exec;
mod failure;
mod files;
mod launcher;
mod log;
mod packet;
mod shim;
mod start;
mod status;
mod sys;

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use shipway_shim::protocol::{Cgroup, Launch, LogLimits, Network, Process, Root, Tmpfs, VERSION};

use container::child::{Birth, GO, RUN, live};
use container::namespaces;
use container::trees::Trees;
use failure::{Failure, Step as _};
use launcher::Shared;
use sys::{Forked, Instruction};

/// Rounds before those that count.
const WARM_UP: u32 = 5;
/// A range of ids that no engine hands out: they begin higher.
const ID_BASE: u32 = 0x0200_0000;
const MEMORY_BYTES: &str = "67108864";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [count, tree, filter] = words.as_slice() else {
        eprintln!("limit COUNT TREE FILTER");
        return ExitCode::FAILURE;
    };
    match measure(count.parse().unwrap_or(0), Path::new(tree), Path::new(filter)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("limit: {}: {} (errno {})", failure.step, failure.detail, failure.errno);
            ExitCode::FAILURE
        }
    }
}

fn measure(count: u32, tree: &Path, filter: &Path) -> Result<(), Failure> {
    let program = fs::read(filter).map_err(|error| Failure::refused("read the filter", error.to_string()))?;
    let program = program.chunks_exact(8).filter_map(|one| Instruction::try_from(one).ok()).collect();
    let shared = launcher::settle(Some(program), &[tree.as_os_str().as_encoded_bytes().to_vec()], None)?;
    // So that the end of a child can be waited for.
    sys::default_signal(libc::SIGCHLD);
    for round in 0..count + WARM_UP {
        let begun = Instant::now();
        cycle(&shared, &launch(tree, round))?;
        if round >= WARM_UP {
            println!("{}", begun.elapsed().as_micros());
        }
    }
    Ok(())
}

/// One container, from nothing to nothing.
fn cycle(shared: &Shared, launch: &Launch) -> Result<(), Failure> {
    for cgroup in &launch.cgroups {
        make(cgroup)?;
    }
    let ended = run(shared, launch);
    for cgroup in &launch.cgroups {
        // Busy for a moment after its last process.
        while fs::remove_dir(&cgroup.path).is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy) {}
    }
    ended
}

fn run(shared: &Shared, launch: &Launch) -> Result<(), Failure> {
    let (ours, theirs) = start::socket_pair()?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).step("make a pipe");
    let ((_stdout, output), (_stderr, errors)) = (pipe()?, pipe()?);
    let (cgroup, tasks) = start::open_cgroups(launch)?;
    let flags = namespaces::of_a_new_container(&launch.network);
    let forked = sys::clone3(flags, cgroup.as_ref().map(|cgroup| cgroup.as_fd())).step("clone")?;
    let Forked::Parent(init) = forked else {
        let output = Some([output, errors]);
        live(Birth { launch, shared, shim: theirs, tasks, output, listener: None })
    };
    drop((theirs, output, errors));
    let namespace = namespaces::map_ids(init.pid, launch.id_base)?;
    let trees = Trees::prepare(launch, shared, &namespace)?;
    packet::send(&ours, GO, &trees.descriptors()).step("hand over the mounts")?;
    drop(trees);
    packet::send(&ours, RUN, &[]).step("say run")?;
    let status = waitid(WaitId::PidFd(init.pidfd.as_fd()), WaitIdOptions::EXITED).step("wait")?;
    match status.and_then(|status| status.exit_status()) {
        Some(0) => Ok(()),
        other => Err(Failure::refused("run /bin/true", format!("it ended with {other:?}"))),
    }
}

/// Makes a cgroup and writes the limits that its tree has.
fn make(cgroup: &Cgroup) -> Result<(), Failure> {
    const STEP: &str = "make a cgroup";
    let failed = |error: std::io::Error| Failure::refused(STEP, format!("{}: {error}", cgroup.path.display()));
    fs::create_dir(&cgroup.path).map_err(failed)?;
    let limits = [
        ("memory.limit_in_bytes", MEMORY_BYTES),
        ("memory.memsw.limit_in_bytes", MEMORY_BYTES),
        ("memory.max", MEMORY_BYTES),
        ("memory.swap.max", "0"),
        ("pids.max", "32"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "200000"),
        ("cpu.max", "200000 100000"),
    ];
    for (file, value) in limits {
        match files::write_existing(rustix::fs::CWD, cgroup.path.join(file).as_os_str(), value.as_bytes()) {
            // Another tree's, or none where swap is not counted.
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno).step_on(STEP, file.as_bytes()),
        }
    }
    Ok(())
}

/// The container of the engine's example `cycle`.
fn launch(tree: &Path, round: u32) -> Launch {
    Launch {
        version: VERSION,
        id: "limit".to_owned(),
        state_dir: PathBuf::new(),
        run_dir: PathBuf::new(),
        root: Root::Tree { path: tree.to_owned(), scratch: Tmpfs { size_bytes: 4 << 20, inodes: 200 } },
        id_base: ID_BASE,
        hostname: "limit".to_owned(),
        binds: Vec::new(),
        files: Vec::new(),
        process: Process {
            argv: vec!["/bin/true".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            cwd: PathBuf::from("/"),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            capabilities: 0,
            rlimits: Vec::new(),
            terminal: false,
        },
        cgroups: cgroups(round),
        network: Network::None { address: None },
        dialer: None,
        listener: false,
        log: LogLimits { segment_bytes: 64 << 10, segments: 4 },
        gate_ms: None,
    }
}

/// The trees that the engine uses, on this host.
fn cgroups(round: u32) -> Vec<Cgroup> {
    let name = format!("shipway-limit-{}-{round}", std::process::id());
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.procs").exists() {
        return vec![Cgroup { path: top.join(name), v2: true }];
    }
    let trees = [("memory", false), ("pids", false), ("cpu", false), ("blkio", false), ("unified", true)];
    let there = trees.into_iter().filter(|(tree, _)| top.join(tree).is_dir());
    there.map(|(tree, v2)| Cgroup { path: top.join(tree).join(&name), v2 }).collect()
}
