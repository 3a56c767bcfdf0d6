//! After a `kill -9` of the server, of a shim, of the launcher, after a reboot.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use shipway_engine::{ContainerSpec, Engine, InlineFile, LogQuery, Phase, Running};

use crate::world::{self, World, kill, printed, run, shims, soon, start, wait_until};

/// Set for the process that [`Owner`] starts; the value is the engine root.
const OWNER: &str = "SHIPWAY_TEST_OWNER";
const COUNT: &str = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.002; done";

/// Another process that owns an engine root, to be killed.
struct Owner(Child);

impl Owner {
    /// Returns once its containers run.
    fn start(world: &World, mode: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recovery::owner_process", "--nocapture"])
            .env(OWNER, format!("{}|{}", world.root().display(), mode))
            .env("SHIPWAY_TEST_TREE", world.tree())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            if line.unwrap().contains("ready to be killed") {
                return Self(child);
            }
        }
        panic!("the owner ended early: {:?}", child.wait());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// No test: what [`Owner`] runs in another process.
#[test]
fn owner_process() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program something")]
    let (Ok(owner), Ok(tree)) = (std::env::var(OWNER), std::env::var("SHIPWAY_TEST_TREE")) else {
        return;
    };
    let (root, mode) = owner.split_once('|').unwrap();
    let (root, tree, mode) = (PathBuf::from(root), PathBuf::from(tree), mode.to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(own(&root, &tree, &mode));
}

#[expect(clippy::print_stdout, reason = "the other process listens for a line")]
async fn own(root: &Path, tree: &Path, mode: &str) {
    let engine = Engine::open(world::config(root)).await.unwrap();
    let spec = |id: &str, script: &str| world::spec(tree, id, script);
    start(&engine, spec("counts", COUNT)).await;
    start(&engine, spec("ends", "read -t 1 x </dev/zero; sleep 0.5; exit 42")).await;
    engine.create(spec("created", "exit 0")).await.unwrap();
    engine.prepare("created").await.unwrap();
    printed(&engine, "counts", "20").await;
    println!("ready to be killed");
    if mode == "wait" {
        std::future::pending::<()>().await;
    }
    for n in 0.. {
        let id = format!("churn-{n}");
        engine.create(spec(&id, "exit 0")).await.unwrap();
        if n % 2 == 0 {
            engine.prepare(&id).await.unwrap();
        }
        engine.start(&id).await.unwrap();
    }
}

/// Every number from 0 on, once, in order.
async fn assert_unbroken(engine: &Engine, id: &str) {
    let lines = engine.logs(id, LogQuery::default()).await.unwrap();
    let numbers: Vec<u64> = lines.map(|l| l.unwrap().text.parse::<u64>().unwrap()).collect().await;
    assert!(numbers.len() > 20, "{} lines", numbers.len());
    let first = numbers[0];
    let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn everything_is_found_again_after_a_kill() {
    let world = World::new();
    let owner = Owner::start(&world, "wait");
    owner.kill();
    // What was to end ends while nobody is there to see it.
    let exit = world.root().join("containers/ends/exit.json");
    wait_until("it has ended", || exit.exists()).await;
    let engine = world.open().await;
    let phase = |id: &str| engine.inspect(id).unwrap().phase;
    assert!(matches!(phase("counts"), Phase::Running(_)));
    assert!(matches!(phase("ends"), Phase::Exited(e) if e.code == Some(42) && !e.lost));
    assert_eq!(phase("created"), Phase::Created);
    assert_eq!(engine.inspect("counts").unwrap().labels["test"], "counts");
    assert!(engine.stats("counts").await.unwrap().usage.pids >= 1);
    let exited = soon(engine.stop("counts", Duration::ZERO)).await.unwrap();
    assert_eq!((exited.signal, exited.lost), (Some(9), false));
    assert_unbroken(&engine, "counts").await;
    soon(engine.start("created")).await.unwrap();
    assert_eq!(soon(engine.wait("created")).await.unwrap().code, Some(0));
    world.finish(engine).await;
}

#[tokio::test]
async fn kills_in_the_middle_of_starts_lose_nothing() {
    let world = World::new();
    for round in 0..4_u32 {
        let owner = Owner::start(&world, "churn");
        let deadline = Instant::now() + Duration::from_millis(u64::from(7 * round + 3));
        wait_until("it is in the middle of something", || Instant::now() >= deadline).await;
        owner.kill();
        let engine = world.open().await;
        for seen in engine.list() {
            if let (Phase::Running(_), "counts") = (&seen.phase, seen.id.as_str()) {
                continue;
            }
            // Whatever a start had come to, it ends well or never ran.
            match engine.wait(&seen.id).await {
                Ok(exited) => assert!(!exited.lost, "{seen:?}"),
                Err(_) => assert_eq!(seen.phase, Phase::Created),
            }
        }
        let exited = soon(engine.stop("counts", Duration::ZERO)).await.unwrap();
        assert!(!exited.lost);
        assert_unbroken(&engine, "counts").await;
        for seen in engine.list() {
            drop(engine.stop(&seen.id, Duration::ZERO).await);
            engine.remove(&seen.id).await.unwrap();
        }
        engine.close().await;
    }
    let engine = world.open().await;
    world.finish(engine).await;
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along_and_is_seen() {
    let world = World::new();
    let engine = world.open().await;
    start(&engine, world.spec("victim", COUNT)).await;
    printed(&engine, "victim", "5").await;
    let Phase::Running(running) = engine.inspect("victim").unwrap().phase else {
        panic!("it runs");
    };
    let at = Instant::now();
    kill(running.shim.pid);
    let exited = soon(engine.wait("victim")).await.unwrap();
    assert!(exited.lost && exited.code.is_none(), "{exited:?}");
    let init = PathBuf::from(format!("/proc/{}", running.init.pid));
    wait_until("its processes are gone", || !init.exists()).await;
    assert!(at.elapsed() < Duration::from_secs(5), "{:?}", at.elapsed());
    soon(engine.start("victim")).await.unwrap();
    printed(&engine, "victim", "0").await;
    world.finish(engine).await;
}

#[tokio::test]
async fn a_shim_killed_while_nobody_looks_is_seen_later() {
    let world = World::new();
    let engine = world.open().await;
    start(&engine, world.spec("victim", COUNT)).await;
    let Phase::Running(running) = engine.inspect("victim").unwrap().phase else {
        panic!("it runs");
    };
    engine.close().await;
    kill(running.shim.pid);
    let shim = PathBuf::from(format!("/proc/{}", running.shim.pid));
    wait_until("the shim is gone", || !shim.exists()).await;
    let engine = world.open().await;
    assert!(matches!(engine.inspect("victim").unwrap().phase, Phase::Exited(e) if e.lost));
    world.finish(engine).await;
}

/// A first process that has cleared the signal it is to die of with its shim: the kernel
/// does that at every change of user.
fn defiant(world: &World, id: &str) -> ContainerSpec {
    let script = "exec start-stop-daemon -S -c 5:5 -x /bin/another -a sh -- -c 'echo loose; while :; do :; done'";
    // It starts no program that runs already, and every other here is the same file.
    fs::copy("/bin/busybox", world.tree().join("bin/another")).unwrap();
    let mut spec = world.spec(id, script);
    (spec.process.uid, spec.process.gid) = (0, 0);
    let passwd = InlineFile { target: "/etc/passwd".into(), text: "other:x:5:5::/:/bin/sh\n".to_owned() };
    spec.files = vec![passwd];
    // SETGID and SETUID.
    spec.process.capabilities = 1 << 6 | 1 << 7;
    spec
}

/// Processor time of a process, in clock ticks; `None` once it is gone.
fn ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(10)?.parse().ok()
}

/// Starts one, and waits until it has got loose.
async fn loose(world: &World) -> (Engine, String, Running) {
    let spec = defiant(world, "defiant");
    let engine = world.open().await;
    let id = start(&engine, spec).await;
    printed(&engine, &id, "loose").await;
    let Phase::Running(running) = engine.inspect(&id).unwrap().phase else { panic!("it runs") };
    (engine, id, running)
}

#[tokio::test]
async fn a_container_that_would_outlive_its_shim_is_killed() {
    let world = World::new();
    let (engine, id, running) = loose(&world).await;
    kill(running.shim.pid);
    assert!(soon(engine.wait(&id)).await.unwrap().lost);
    wait_until("it is gone", || ticks(running.init.pid).is_none()).await;
    world.finish(engine).await;
}

#[tokio::test]
async fn one_that_outlived_its_shim_while_nobody_looked_is_killed_later() {
    let world = World::new();
    let (engine, id, running) = loose(&world).await;
    engine.close().await;
    kill(running.shim.pid);
    wait_until("the shim is gone", || ticks(running.shim.pid).is_none()).await;
    let then = ticks(running.init.pid).expect("it goes on without its shim");
    wait_until("it goes on", || ticks(running.init.pid).is_some_and(|now| now > then + 2)).await;
    let engine = world.open().await;
    assert!(soon(engine.wait(&id)).await.unwrap().lost);
    wait_until("it is gone", || ticks(running.init.pid).is_none()).await;
    world.finish(engine).await;
}

#[tokio::test]
async fn a_killed_launcher_is_replaced() {
    let world = World::new();
    let engine = world.open().await;
    start(&engine, world.spec("before", COUNT)).await;
    let Phase::Running(before) = engine.inspect("before").unwrap().phase else {
        panic!("it runs");
    };
    let launchers: Vec<i32> = shims(&world).into_iter().filter(|p| *p != before.shim.pid).collect();
    assert_eq!(launchers.len(), 1, "one launcher beside one shim");
    kill(launchers[0]);
    wait_until("it is gone", || !shims(&world).contains(&launchers[0])).await;
    let (exited, _) = run(&engine, world.spec("after", "exit 6")).await;
    assert_eq!(exited.code, Some(6));
    assert!(matches!(engine.inspect("before").unwrap().phase, Phase::Running(_)));
    world.finish(engine).await;
}

#[tokio::test]
async fn after_a_reboot_what_ran_is_lost_and_cleaned_up() {
    let world = World::new();
    let engine = world.open().await;
    let id = start(&engine, world.spec("before", "exec sleep 1000")).await;
    soon(engine.stop(&id, Duration::ZERO)).await.unwrap();
    engine.close().await;
    // As a reboot leaves it: a run of another boot, no exit, no run directory.
    let state = world.root().join("containers").join(&id);
    fs::remove_file(state.join("exit.json")).unwrap();
    let run = fs::read_to_string(state.join("run.json")).unwrap();
    let mut run: serde_json::Value = serde_json::from_str(&run).unwrap();
    run["boot_id"] = "another".into();
    // Its numbers are somebody else's by now: this very test's.
    run["shim"]["pid"] = std::process::id().into();
    shipway_stdx::fs::write_atomic(
        &state.join("run.json"),
        run.to_string().as_bytes(),
        0o600,
        shipway_stdx::fs::Durability::Process,
    )
    .unwrap();
    let engine = world.open().await;
    assert!(matches!(engine.inspect(&id).unwrap().phase, Phase::Exited(e) if e.lost));
    soon(engine.start(&id)).await.unwrap();
    assert!(matches!(engine.inspect(&id).unwrap().phase, Phase::Running(_)));
    world.finish(engine).await;
}

#[tokio::test]
async fn only_what_is_ours_is_swept() {
    let world = World::new();
    let engine = world.open().await;
    let instance = engine.instance().to_owned();
    engine.close().await;
    let containers = world.root().join("containers");
    fs::create_dir_all(containers.join(".half/log")).unwrap();
    fs::create_dir_all(containers.join("no-record/log")).unwrap();
    fs::create_dir_all(world.root().join("trash/old")).unwrap();
    let cgroup = |name: &str| {
        let tree = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].into_iter().find(|tree| Path::new(tree).is_dir());
        PathBuf::from(tree.unwrap()).join(name)
    };
    let ours = cgroup(&format!("shipway-{instance}/left-over"));
    let theirs = cgroup(&format!("shipway-ffff{}", std::process::id()));
    fs::create_dir_all(&ours).unwrap();
    fs::create_dir_all(&theirs).unwrap();
    let engine = world.open().await;
    engine.settle().await;
    assert!(engine.list().is_empty());
    assert!(!containers.join(".half").exists() && !containers.join("no-record").exists());
    assert!(!world.root().join("trash/old").exists());
    assert!(!ours.exists() && theirs.exists());
    fs::remove_dir(&theirs).unwrap();
    world.finish(engine).await;
}
