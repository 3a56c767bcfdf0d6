//! The cache below builds: shared, never written to, given up when somebody has.

use std::sync::Arc;

use shipway_gobuild::{Phase, StepName};
use shipway_gofarm::What;
use shipway_gofarm::caches::Caches;
use shipway_gofarm::sandbox::{BenchOrder, Sandbox};
use shipway_stdx::shutdown;
use tokio::sync::mpsc;

use crate::plans::{example, plan, plan_for, script};
use crate::world::{Told, World, toolchain};

/// Overwrites every object of the build cache by as many zeros, which is what the go command
/// looks at, and every module's source; then tells whether it could.
const POISON: &str = r#"
count=0
for object in /go/cache/??/*-d; do
    size=$(stat -c %s "$object"); head -c $size /dev/zero > "$object" && count=$((count + 1))
done
for source in $(busybox find /go/mod/example.org -name '*.go'); do
    chmod u+w "$source"; printf 'package cmd\nfunc Main() { println("poison") }\n' > "$source" && count=$((count + 1))
done
[ $count -gt 100 ] && [ -z "$(cat /go/cache/??/*-d | tr -d '\0' | head -c 1)" ] && echo poisoned
exit 1
"#;

pub(crate) async fn a_poisoned_entry_never_reaches_another_build(world: Arc<World>) {
    let proxy = example();
    let good = plan(&["example.org/good"]);
    let before = world.build(&proxy.url(), &good).await;
    let poison = script(Phase::Build, POISON);
    // The poisoner first; then both at a time.
    let poisoned = world.build(&proxy.url(), &poison).await;
    let text = poisoned.text();
    assert!(text.contains("Stdout: poisoned\n"), "it was able to, on its own disk: {text}");
    let url = proxy.url();
    let (after, _) = tokio::join!(world.build(&url, &good), world.build(&url, &poison));
    let bytes = |told: &Told| {
        told.built();
        std::fs::read(&told.file).unwrap()
    };
    assert!(bytes(&before) == bytes(&after), "the same bytes as before");
    assert_eq!(after.built().program, ["good\n"]);
    assert!(world.benches.is_intact(&world.cache).await.unwrap(), "the cache is what it was");

    // The poison is real: a build on the poisoned disk itself does not go well, or is another.
    let mut own = good.clone();
    let compile = own.steps.iter().position(|step| step.name == StepName::Compile).unwrap();
    let mut first = poison.steps[0].clone();
    first.commands[0].argv[2] = POISON.replace("exit 1", "exit 0");
    own.steps.insert(compile, first);
    let harmed = world.build(&proxy.url(), &own).await;
    let harm = harmed.result.as_ref().map_or_else(|failure| failure.lines.join("\n"), |built| built.program.concat());
    assert_ne!(harm, "good\n");
}

pub(crate) async fn a_cache_that_was_changed_is_given_up(world: Arc<World>) {
    let folder = tempfile::TempDir::new().unwrap();
    let benches: Arc<dyn Sandbox> = Arc::new(world.own_benches().await);
    let caches = Caches::open(folder.path(), Arc::clone(&benches)).await.unwrap();
    assert!(caches.check().await.unwrap(), "there is none");
    assert_eq!(caches.present("1.0").await, None);
    let proxy = example();
    let farm = world.farm_on(Arc::clone(&benches), &proxy.url());
    // Nothing is compiled, so it is made in a moment.
    let mut quick = plan(&[]);
    quick.steps.truncate(4);
    let warm = async |plans: &[shipway_gobuild::Plan]| {
        let (events, _) = mpsc::channel(1);
        let (_stop, stopped) = shutdown::channel();
        caches.warm(&farm, "1.0", plans, events, stopped).await.unwrap()
    };
    let cache = warm(std::slice::from_ref(&quick)).await;
    assert_eq!(caches.present("1.0").await, Some(cache.clone()));
    assert_eq!(caches.present("1.1").await, None, "of another Go");
    assert_eq!(warm(std::slice::from_ref(&quick)).await, cache, "of the same, it stays");
    // Another owner finds it again.
    drop(caches);
    let caches = Caches::open(folder.path(), Arc::clone(&benches)).await.unwrap();
    assert_eq!(caches.present("1.0").await, Some(cache.clone()));
    assert!(caches.check().await.unwrap());

    world.change_own_cache(&cache);
    // The next start reads every byte before anything is built on it.
    drop(caches);
    let caches = Caches::open(folder.path(), Arc::clone(&benches)).await.unwrap();
    assert_eq!(caches.present("1.0").await, None);
    assert!(caches.check().await.unwrap(), "there is none any more");
    assert_eq!(benches.caches().await.unwrap(), [], "it is gone from the disk, too");
    world.close_own(benches, (farm, caches)).await;
}

pub(crate) async fn a_cache_is_replaced_and_the_old_one_goes_with_its_last_user(world: Arc<World>) {
    let folder = tempfile::TempDir::new().unwrap();
    let benches: Arc<dyn Sandbox> = Arc::new(world.own_benches().await);
    let caches = Caches::open(folder.path(), Arc::clone(&benches)).await.unwrap();
    let proxy = example();
    let farm = world.farm_on(Arc::clone(&benches), &proxy.url());
    let quick = |plugins: &[&str]| {
        let mut quick = plan_for(plugins, "linux", "amd64");
        quick.steps.truncate(4);
        quick
    };
    let (events, mut told) = mpsc::channel(10_000);
    let (_stop, stopped) = shutdown::channel();
    let old = caches.warm(&farm, "1.0", &[quick(&[])], events.clone(), stopped.clone()).await.unwrap();
    let order = BenchOrder {
        build: "old".to_owned(),
        toolchain: (toolchain(), "/usr/local/go".to_owned()),
        cache: Some(old.clone()),
        folders: Vec::new(),
    };
    let bench = benches.bench(order).await.unwrap();
    // Two plans, one after the other on one bench: each has its own source.
    let both = [quick(&[]), quick(&["example.org/good"])];
    let new = caches.warm(&farm, "1.0", &both, events, stopped).await.unwrap();
    assert_ne!(old, new);
    assert_eq!(caches.present("1.0").await, Some(new.clone()));
    assert_eq!(benches.caches().await.unwrap().len(), 2, "somebody stands on the old one");
    bench.close().await;
    caches.sweep().await.unwrap();
    assert_eq!(benches.caches().await.unwrap(), [new]);
    let mut began = 0;
    while let Ok(event) = told.try_recv() {
        began += u32::from(event.what == What::Began);
    }
    assert_eq!(began, 3 * 4);
    world.close_own(benches, (farm, caches)).await;
}
