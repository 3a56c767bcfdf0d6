//! Benches: commands one after the other on a private disk, and what they cannot do.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use shipway_driver_embedded::{Benches, EmbeddedDriver};
use shipway_engine::{ContainerSpec, Engine};
use shipway_gofarm::sandbox::{Bench, BenchCommand, BenchOrder, End, Ended, Running, Sandbox, SandboxError};
use shipway_model::Digest;

use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(60);

fn benches(driver: &Arc<EmbeddedDriver>) -> Benches {
    driver.benches().unwrap().expect("configured").clone()
}

async fn open(world: &World, benches: &Benches, cache: Option<Digest>) -> Box<dyn Bench> {
    let toolchain = (world.path().join("toolchain"), "/opt/tools".to_owned());
    let folders = ["/work", "/go/cache"].map(str::to_owned).to_vec();
    soon(benches.bench(BenchOrder { build: "test".to_owned(), toolchain, cache, folders })).await.unwrap()
}

fn command(script: &str) -> BenchCommand {
    BenchCommand {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        directory: "/work".to_owned(),
        memory_bytes: 64 << 20,
        deadline: PATIENCE,
        door: None,
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within the patience of the tests")
}

async fn finish(mut running: Running) -> (Ended, String) {
    let mut said = String::new();
    while let Some(line) = soon(running.lines.recv()).await {
        said.push_str(&line.text);
        said.push('\n');
    }
    (soon(running.ended).await.unwrap().unwrap(), said)
}

async fn run(bench: &dyn Bench, script: &str) -> (End, String) {
    let running = soon(bench.start(command(script))).await.unwrap();
    let (ended, said) = finish(running).await;
    (ended.how, said)
}

#[tokio::test]
async fn commands_share_a_disk_and_nothing_else() {
    let world = World::with_benches();
    let driver = world.open().await;
    let benches = benches(&driver);
    let bench = open(&world, &benches, None).await;
    bench.write("/work/in/file", b"given\n").await.unwrap();
    let script = "cat in/file /opt/tools/tool; id -u; echo $PATH $HOME; echo made > /work/out; chmod 700 /work/out; \
                  (sleep 1000 &); echo oops >&2; exit 3";
    let (how, said) = run(&*bench, script).await;
    assert_eq!((how, said.as_str()), (End::Exited(3), "given\na tool\n1000\n/usr/bin:/bin\noops\n"));
    // Another container, of another id range, and only the files are still there.
    let (how, said) = run(&*bench, r#"cat /work/out; for one in /proc/[0-9]*/comm; do [ "$(cat $one)" != sleep ] || echo asleep; done; echo nobody"#).await;
    assert_eq!((how, said.as_str()), (End::Exited(0), "made\nnobody\n"));
    for script in ["echo x > /opt/tools/tool", "echo x > /usr/bin/evil", "echo x > /evil"] {
        assert_ne!(run(&*bench, script).await.0, End::Exited(0), "{script}");
    }
    let out = world.path().join("taken");
    assert_eq!(bench.take("/work/out", &out, 100).await.unwrap(), 5);
    assert_eq!(fs::read_to_string(&out).unwrap(), "made\n");
    let refused = bench.take("/work/nothing", &out, 100).await.unwrap_err();
    assert_eq!(refused, SandboxError::Refused("/work/nothing: nothing was made there".to_owned()));
    let nowhere = BenchCommand { argv: vec!["/nowhere".to_owned()], ..command("") };
    assert!(matches!(soon(bench.start(nowhere)).await, Err(SandboxError::NoProgram(_))));
    soon(bench.close()).await;

    let next = open(&world, &benches, None).await;
    let (_, said) = run(&*next, "ls /work /go/cache").await;
    assert_eq!(said, "/go/cache:\n\n/work:\n", "a disk used again is empty");
    soon(next.close()).await;
    drop(benches);
    world.finish(driver).await;
}

#[tokio::test]
async fn limits_hold_and_are_told_apart() {
    let world = World::with_benches();
    let driver = world.open().await;
    let benches = benches(&driver);
    let bench = open(&world, &benches, None).await;
    let (how, said) = run(&*bench, "head -c 200m /dev/zero > full").await;
    assert_eq!(how, End::Exited(1));
    assert!(said.contains("No space left on device"), "{said}");
    run(&*bench, "i=0; while echo x > file-$i; do i=$((i + 1)); done").await;
    let told = bench.write("/work/more", &[7; 1 << 20]).await.unwrap_err();
    assert!(matches!(told, SandboxError::Full(_)), "{told:?}");
    let (how, _) = run(&*bench, "rm full file-*; head -c 200m /dev/zero | tail -c 200m > /dev/null").await;
    assert_eq!(how, End::OutOfMemory);
    let mut endless = command("sleep 1000 & wait");
    endless.deadline = Duration::from_millis(300);
    let (ended, _) = finish(soon(bench.start(endless)).await.unwrap()).await;
    assert_eq!(ended.how, End::Deadline);
    // Whoever lets go of a command ends it; the next one waits for that.
    drop(soon(bench.start(command("echo began > /work/mark; sleep 1000"))).await.unwrap());
    let (how, _) = run(&*bench, "true").await;
    assert_eq!(how, End::Exited(0));
    soon(bench.close()).await;
    assert!(driver.engine().list().is_empty());
    drop(benches);
    world.finish(driver).await;
}

#[tokio::test]
async fn a_door_leads_to_us_and_there_is_nothing_else() {
    let world = World::with_benches();
    let driver = world.open().await;
    let benches = benches(&driver);
    let bench = open(&world, &benches, None).await;
    // Only bash connects by itself, so the door is tried by what the image has: /dev/tcp
    // of no shell here. The engine's own tests connect; this one accepts.
    let mut with_door = command("cat /proc/net/tcp; cat /proc/net/dev | tail -n +3 | cut -d: -f1");
    with_door.door = Some("127.0.0.1:4000".parse().unwrap());
    let running = soon(bench.start(with_door)).await.unwrap();
    assert!(running.door.is_some());
    let (_, said) = finish(running).await;
    assert!(said.contains("0100007F:0FA0"), "the door is listened at: {said}");
    let (_, said) = run(&*bench, "cat /proc/net/tcp; cat /proc/net/dev | tail -n +3 | cut -d: -f1").await;
    assert!(!said.contains("0100007F:0FA0") && said.trim_end().ends_with("lo"), "{said}");
    soon(bench.close()).await;
    drop(benches);
    world.finish(driver).await;
}

#[tokio::test]
async fn a_cache_is_shared_and_what_one_bench_does_to_it_no_other_sees() {
    let world = World::with_benches();
    let driver = world.open().await;
    let benches = benches(&driver);
    let maker = open(&world, &benches, None).await;
    run(&*maker, "mkdir /go/cache/00; echo good > /go/cache/00/entry-d").await;
    let cache = soon(maker.keep(&["/go/cache"])).await.unwrap();
    assert!(matches!(soon(maker.start(command("true"))).await, Err(SandboxError::Refused(_))));
    soon(maker.close()).await;

    let poisoner = open(&world, &benches, Some(cache.clone())).await;
    let poison = "cat /go/cache/00/entry-d; stat -c %Y /go/cache/00/entry-d; \
                  echo evil > /go/cache/00/entry-d; echo more > /go/cache/00/other-d; cat /go/cache/00/entry-d";
    assert_eq!(run(&*poisoner, poison).await.1, "good\n2145916800\nevil\n");
    // At the same time and afterwards.
    let other = open(&world, &benches, Some(cache.clone())).await;
    assert_eq!(run(&*other, "cat /go/cache/00/*").await.1, "good\n");
    assert!(!soon(benches.forget(&cache)).await.unwrap(), "somebody stands on it");
    soon(poisoner.close()).await;
    soon(other.close()).await;
    let next = open(&world, &benches, Some(cache.clone())).await;
    assert_eq!(run(&*next, "cat /go/cache/00/*").await.1, "good\n");
    soon(next.close()).await;
    assert!(soon(benches.is_intact(&cache)).await.unwrap());

    // On the host somebody has changed it.
    let hex = cache.hex();
    let entry = world.path().join(format!("benches/caches/sha256/{hex}/tree/go/cache/00/entry-d"));
    fs::OpenOptions::new().append(true).open(entry).unwrap().write_all(b"x").unwrap();
    assert!(!soon(benches.is_intact(&cache)).await.unwrap());
    assert!(soon(benches.forget(&cache)).await.unwrap());
    assert_eq!(soon(benches.caches()).await.unwrap(), []);
    drop(benches);
    world.finish(driver).await;
}

#[tokio::test]
async fn what_a_killed_owner_left_is_removed() {
    let world = World::with_benches();
    let driver = world.open().await;
    // As a command of a bench whose owner died looks to the next one.
    let engine: &Engine = driver.engine();
    let bench = open(&world, &benches(&driver), None).await;
    let running = soon(bench.start(command("sleep 1000"))).await.unwrap();
    let seen = engine.list();
    let spec: ContainerSpec = engine.spec(&seen[0].id).unwrap();
    assert!(seen[0].id.starts_with("bench-") && spec.labels["shipway.build"] == "test");
    drop(running);
    soon(bench.close()).await;
    let mut left = ContainerSpec { id: "bench-left-1".to_owned(), root: tmpfs(&spec), ..spec };
    left.process.cwd = "/".into();
    engine.create(left).await.unwrap();
    soon(engine.start("bench-left-1")).await.unwrap();
    Arc::into_inner(driver).expect("the only one").close().await;

    let driver = world.open().await;
    assert!(driver.engine().list().is_empty());
    let bench = open(&world, &benches(&driver), None).await;
    assert_eq!(run(&*bench, "echo works").await.1, "works\n");
    soon(bench.close()).await;
    world.finish(driver).await;
}

/// The same below a tmpfs: the disk is somebody else's by now.
fn tmpfs(spec: &ContainerSpec) -> shipway_engine::Root {
    let shipway_engine::Root::Overlay { lowers, .. } = &spec.root else { panic!("an overlay") };
    let upper = shipway_engine::Upper::Tmpfs(shipway_engine::Tmpfs { size_bytes: 1 << 20, inodes: 100 });
    shipway_engine::Root::Overlay { lowers: lowers.clone(), upper }
}
