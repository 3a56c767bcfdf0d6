//! Builds that go well, and those that fail by somebody's fault.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use shipway_gobuild::{Phase, StepName};
use shipway_gofarm::{FailureKind, What};
use shipway_stdx::shutdown;
use tokio::sync::mpsc;

use crate::plans::{add, example, plan, plan_for, plugin, script};
use crate::world::{Told, World, wait_until};

fn sum(told: &Told) -> Vec<u8> {
    told.built();
    Sha256::digest(std::fs::read(&told.file).unwrap()).to_vec()
}

pub(crate) async fn a_plugin_is_built_and_runs(world: Arc<World>) {
    let proxy = example();
    let told = world.build(&proxy.url(), &plan(&["example.org/good"])).await;
    let built = told.built();
    assert_eq!(built.program, ["good\n"]);
    let info = built.build_info.as_deref().unwrap();
    assert!(info.contains("dep\texample.org/good\tv1.0.0"), "{info}");
    assert_eq!(std::fs::metadata(&told.file).unwrap().len(), built.bytes);
    let names: Vec<StepName> = built.steps.iter().map(|step| step.name).collect();
    assert_eq!(names.len(), 6);
    // Told in order, each step begun and ended, every question among them.
    let told_of: Vec<StepName> =
        told.events.iter().filter(|event| event.what == What::Began).map(|event| event.step).collect();
    let ended = told.events.iter().filter(|event| matches!(event.what, What::Ended { is_success: true, .. }));
    assert_eq!(told_of, names);
    assert_eq!(ended.count(), 6);
    let text = told.text();
    assert!(text.contains("Proxy: 200 example.org/good/@v/v1.0.0.zip: "), "{text}");
    assert!(built.fetched.0 > 2 && built.fetched.1 > 100, "{built:?}");
    assert!(text.contains("Stdout: good"), "{text}");
}

pub(crate) async fn the_same_plan_gives_the_same_bytes_anywhere(world: Arc<World>) {
    let proxy = example();
    let (farm, plan) = (world.farm(&proxy.url()), plan(&["example.org/good"]));
    let one = world.build_by(&farm, &plan, Some(world.cache.clone())).await;
    // At the same time, so on another disk and in another range of ids; and from nothing.
    let (two, cold) =
        tokio::join!(world.build_by(&farm, &plan, Some(world.cache.clone())), world.build_by(&farm, &plan, None),);
    assert_eq!(sum(&one), sum(&two));
    assert_eq!(sum(&one), sum(&cold), "a cache changes how long it takes and nothing else");
    let compile =
        |told: &Told| told.built().steps.iter().find(|step| step.name == StepName::Compile).unwrap().disk_bytes;
    assert!(compile(&cold) > compile(&two) + (20 << 20), "{} {}", compile(&cold), compile(&two));
}

pub(crate) async fn every_platform_is_a_step_away(world: Arc<World>) {
    let proxy = example();
    let told = world.build(&proxy.url(), &plan_for(&["example.org/good"], "windows", "arm64")).await;
    assert_eq!(told.built().program, Vec::<String>::new());
    assert_eq!(std::fs::read(&told.file).unwrap()[..2], *b"MZ");
}

pub(crate) async fn a_build_is_stopped_at_any_moment(world: Arc<World>) {
    let farm = world.farm("file:///nowhere");
    let endless = script(Phase::Build, "echo begun; sleep 1000 & sleep 1000");
    let (events, mut told) = mpsc::channel(10);
    let (stop, stopped) = shutdown::channel();
    let file = world.file();
    let building = tokio::spawn({
        let (farm, file, endless) = (farm.clone(), file.clone(), endless.clone());
        async move { farm.build(&endless, None, &file, events, stopped).await }
    });
    while !matches!(told.recv().await.expect("it says so").what, What::Line { .. }) {}
    stop.request();
    let failure = building.await.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Stopped);
    assert_eq!(world.containers(), 0, "nothing of it is left once it says so");

    // Whoever asked goes away: the same, in the background.
    let (events, mut told) = mpsc::channel(10);
    let (_stop, stopped) = shutdown::channel();
    let building = tokio::spawn(async move { farm.build(&endless, None, &file, events, stopped).await });
    while !matches!(told.recv().await.expect("it says so").what, What::Line { .. }) {}
    building.abort();
    wait_until("its container is gone", || world.containers() == 0).await;
}

pub(crate) async fn what_goes_wrong_is_said_and_by_whose_fault(world: Arc<World>) {
    let proxy = example();
    plugin(&proxy, "example.org/broken", "", "cmd.Register(1)");
    add(&proxy, "example.org/future", &[("plugin.go", "package plugin\n")], "1.99");
    let cgo = "package plugin\n\n// int one(void) { return 1; }\nimport \"C\"\n\nfunc init() { C.one() }\n";
    add(&proxy, "example.org/cgo", &[("plugin.go", cgo)], "1.21");

    let check = async |plugin: &str, kind: FailureKind, words: &str| {
        let told = world.build(&proxy.url(), &plan(&[plugin])).await;
        let failure = told.failure();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(!failure.kind.is_transient());
        let all = format!("{}\n{}", failure.message, failure.lines.join("\n"));
        assert!(all.contains(words), "{words}: {all}");
    };
    check("example.org/broken", FailureKind::Compile, "plugin.go:10:15: cannot use 1").await;
    check("example.org/future", FailureKind::Toolchain, "example.org/future@v1.0.0 requires go >= 1.99").await;
    check("example.org/absent", FailureKind::Modules, "example.org/absent").await;
    // Files that need cgo do not count without it, and nothing else is there.
    check("example.org/cgo", FailureKind::Compile, "build constraints exclude all Go files").await;

    let mut slow = script(Phase::Build, "sleep 1000");
    slow.steps[0].deadline = Duration::from_millis(500);
    assert_eq!(world.build("file:///nowhere", &slow).await.failure().kind, FailureKind::Deadline);
    let nothing = world.build("file:///nowhere", &script(Phase::Build, "true")).await;
    assert_eq!(nothing.failure().kind, FailureKind::Artifact);
    assert_eq!(nothing.failure().message, "/go/out/app: nothing was made there");
}
