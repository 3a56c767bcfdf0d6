//! From a request to a binary: resolved, planned and carried out by the real parts, with the
//! plugins that `shipway-gobuild` keeps for tests.

use std::sync::Arc;
use std::time::Duration;

use shipway_gobuild::buildinfo::BuildInfo;
use shipway_gobuild::plan::{Checksums, Layout, Limits, Settings};
use shipway_gobuild::request::parse_plugin;
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::testing::{ModuleProxy, recipe};
use shipway_gobuild::toolchain::Toolchain;
use shipway_gobuild::{Plan, Platform, Query, Request, StepName};
use shipway_gofarm::{FailureKind, door};
use tokio::runtime::Handle;

use crate::world::World;

fn planned(world: &World, proxy: &ModuleProxy, plugins: &[&str], os: &str) -> Plan {
    let platform = Platform::parse(os, "amd64", None).unwrap();
    let plugins = plugins.iter().map(|plugin| parse_plugin(plugin).unwrap()).collect();
    let latest = Query::parse("latest").unwrap();
    let request = Request::new(&recipe(), latest, plugins, Vec::new(), platform, 100).unwrap();
    let resolver = Resolver::new(world.config(&proxy.url()).proxies, Duration::from_secs(60));
    // On this thread: the compiler cannot see that the resolver's future may change it.
    let resolving = || Handle::current().block_on(resolver.resolve(&recipe(), &request));
    let resolved = tokio::task::block_in_place(resolving).unwrap();
    let settings = Settings {
        go: Toolchain::on_this_machine("/usr/bin").into_iter().next().unwrap().version.to_string(),
        sandbox: 1,
        layout: Layout::default(),
        proxy: door::URL.to_owned(),
        checksums: Checksums { database: "off".to_owned(), exempt: Vec::new() },
        host: Some(Platform::parse("linux", "amd64", None).unwrap()),
        limits: Limits { verify: Duration::from_secs(20), ..Limits::default() },
    };
    Plan::make(&recipe(), &resolved, &settings)
}

pub(crate) async fn a_request_becomes_a_binary(world: Arc<World>) {
    let proxy = ModuleProxy::with_examples();
    let plan = planned(&world, &proxy, &["example.com/good", "example.com/deep/sub/pkg"], "linux");
    let told = world.build(&proxy.url(), &plan).await;
    let built = told.built();
    let info = BuildInfo::parse(built.build_info.as_deref().unwrap()).unwrap();
    assert!(format!("{info:?}").contains("example.com/good"), "{info:?}");
    assert!(built.program.concat().contains("good"), "{built:?}");

    let plan = planned(&world, &proxy, &["example.com/good"], "windows");
    let told = world.build(&proxy.url(), &plan).await;
    assert!(told.built().steps.iter().any(|step| step.name == StepName::WindowsResources));
    assert_eq!(plan.file_name, "app.exe");
}

pub(crate) async fn what_a_request_names_fails_in_its_own_step(world: Arc<World>) {
    let proxy = ModuleProxy::with_examples();
    let check = async |plugin: &str, step: StepName, kind: FailureKind| {
        let plan = planned(&world, &proxy, &[plugin], "linux");
        let told = world.build(&proxy.url(), &plan).await;
        let failure = told.failure();
        assert_eq!((failure.step, failure.kind), (Some(step), kind), "{failure:?}");
    };
    check("example.com/broken", StepName::Compile, FailureKind::Compile).await;
    check("example.com/future", StepName::PinVersions, FailureKind::Toolchain).await;
    // One init ends the program, another never does.
    check("example.com/hostile@v1.0.0", StepName::Verify, FailureKind::Program).await;
    check("example.com/hostile@v1.1.0", StepName::Verify, FailureKind::Deadline).await;
}
