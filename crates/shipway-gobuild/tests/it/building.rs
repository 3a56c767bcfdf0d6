//! The plan's commands, run on this host without a sandbox: they do make a binary that works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use shipway_gobuild::buildinfo::BuildInfo;
use shipway_gobuild::plan::{Checksums, Layout, Limits, Output, Settings};
use shipway_gobuild::testing::{ModuleProxy, recipe};
use shipway_gobuild::{ModulePath, Phase, Plan, Platform, Recipe, Resolved, StepName, Version, scan};

use crate::support::{proxies, request_for, resolver, toolchain};

/// What became of a plan.
struct Ran {
    /// The step that failed, with its output.
    failed: Option<(StepName, String)>,
    output: PathBuf,
    /// What the program printed of itself.
    said: String,
    info: String,
    _directory: tempfile::TempDir,
}

async fn settled(proxy: &ModuleProxy, text: &str, os: &str, arch: &str) -> Resolved {
    let request = request_for(text, os, arch);
    resolver(&proxy.url()).resolve(&recipe(), &request).await.unwrap()
}

/// The build cache is shared by all tests of this binary, and by its later runs: else each would
/// compile the standard library.
fn layout(directory: &Path) -> Layout {
    let at = |name: &str| directory.join(name).display().to_string();
    Layout {
        toolchain: toolchain().root.display().to_string(),
        modules: at("mod"),
        cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("gocache").display().to_string(),
        source: at("src"),
        home: at("home"),
        output: at("out"),
    }
}

fn settings(proxy: &ModuleProxy, directory: &Path) -> Settings {
    Settings {
        go: toolchain().version.to_string(),
        sandbox: 1,
        layout: layout(directory),
        proxy: proxy.url(),
        checksums: Checksums { database: "off".into(), exempt: Vec::new() },
        host: Some(Platform::parse("linux", "amd64", None).unwrap()),
        limits: Limits::default(),
    }
}

fn run(proxy: &ModuleProxy, resolved: &Resolved) -> Ran {
    run_as(&recipe(), proxy, resolved)
}

fn run_as(recipe: &Recipe, proxy: &ModuleProxy, resolved: &Resolved) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(proxy, directory.path());
    let plan = Plan::make(recipe, resolved, &settings);
    for name in ["mod", "src", "home", "out"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let mut ran = Ran {
        failed: None,
        output: PathBuf::from(&plan.output),
        said: String::new(),
        info: String::new(),
        _directory: directory,
    };
    for step in &plan.steps {
        for file in &step.files {
            std::fs::File::create(&file.path)
                .and_then(|mut to| std::io::Write::write_all(&mut to, &file.content))
                .unwrap();
        }
        for command in &step.commands {
            let offline = command.env.get("GOPROXY").is_none_or(|proxy| proxy == "off");
            assert_eq!(step.phase == Phase::Build, offline, "{command:?}");
            let done = Command::new(&command.argv[0])
                .args(&command.argv[1..])
                .current_dir(&command.directory)
                .env_clear()
                .envs(&command.env)
                .output()
                .unwrap();
            let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            if !done.status.success() {
                ran.failed = Some((step.name, format!("{out}{err}")));
                return ran;
            }
            match command.output {
                Output::Log => {}
                Output::BuildInfo => ran.info = out.into_owned(),
                Output::Program => ran.said.push_str(&out),
            }
        }
    }
    ran
}

#[tokio::test]
async fn a_program_with_plugins_is_built_and_runs() {
    let proxy = ModuleProxy::with_examples();
    let text = "v1.0.0; example.com/good@v1.0.0 example.com/deep/sub/pkg example.com/major@v2";
    let resolved = settled(&proxy, text, "linux", "amd64").await;
    let first = run(&proxy, &resolved);
    assert_eq!(first.failed, None);
    assert_eq!(first.said, "app.deep.sub\napp.good\napp.major\napp.standard\n", "the tag `small` leaves app.large out");
    let info = BuildInfo::parse(&first.info).unwrap();
    assert_eq!(info.difference(&resolved), None);
    let mut other = resolved.clone();
    other.plugins[1].version = Version::parse("v1.1.0").unwrap();
    let difference = "example.com/good is in the binary as v1.0.0, not v1.1.0";
    assert_eq!(info.difference(&other).as_deref(), Some(difference));
    let second = run(&proxy, &resolved);
    let bytes = |ran: &Ran| std::fs::read(&ran.output).unwrap();
    assert!(bytes(&first) == bytes(&second), "the same plan in another directory gives the same bytes");
}

#[tokio::test]
async fn variables_of_the_operator_decide_what_comes_out() {
    let proxy = ModuleProxy::with_examples();
    let resolved = settled(&proxy, "v1.0.0", "linux", "amd64").await;
    let v2 = BTreeMap::from([("GOAMD64".to_owned(), "v2".to_owned())]);
    let ran = run_as(&recipe().with_env(v2).unwrap(), &proxy, &resolved);
    assert_eq!((ran.failed, ran.said.as_str()), (None, "app.standard\n"));
    let info = BuildInfo::parse(&ran.info).unwrap();
    assert!(info.settings.contains(&("GOAMD64".to_owned(), "v2".to_owned())), "{:?}", info.settings);
    assert_eq!(info.difference(&resolved), None);
}

#[tokio::test]
async fn replacements_take_a_modules_place() {
    let proxy = ModuleProxy::with_examples();
    let fork = [
        ("go.mod", "module example.com/fork\n\ngo 1.21\n\nrequire example.com/app v1.0.0\n"),
        (
            "good.go",
            "package good\n\nimport \"example.com/app\"\n\nfunc init() { app.RegisterModule(P{}) }\n\ntype P struct{}\n\n\
          func (P) AppModule() app.ModuleInfo { return app.ModuleInfo{ID: \"app.forked\"} }\n",
        ),
    ];
    proxy.add("example.com/fork", "v0.1.0", &fork);
    for replaced in ["example.com/good=example.com/fork@v0.1.0", "example.com/good@v1.0.0=example.com/fork@v0.1.0"] {
        let text = format!("v1.0.0; example.com/good@v1.0.0; {replaced}");
        let ran = run(&proxy, &settled(&proxy, &text, "linux", "amd64").await);
        assert_eq!(ran.failed, None, "{replaced}");
        assert_eq!(ran.said, "app.forked\napp.standard\n", "{replaced}");
        let resolved = settled(&proxy, &text, "linux", "amd64").await;
        assert_eq!(BuildInfo::parse(&ran.info).unwrap().difference(&resolved), None, "{replaced}");
    }
}

#[tokio::test]
async fn versions_that_cannot_go_together_are_both_named() {
    let proxy = ModuleProxy::with_examples();
    proxy.add("example.com/app", "v1.1.0", &[("go.mod", "module example.com/app\n\ngo 1.21\n")]);
    let newer = ("go.mod", "module example.com/newer\n\ngo 1.21\n\nrequire example.com/app v1.1.0\n");
    proxy.add("example.com/newer", "v1.0.0", &[newer, ("newer.go", "package newer\n\nimport _ \"example.com/app\"\n")]);
    let resolved = settled(&proxy, "v1.0.0; example.com/newer", "linux", "amd64").await;
    let (failed, output) = run(&proxy, &resolved).failed.unwrap();
    assert_eq!(failed, StepName::PinVersions, "{output}");
    let words = "example.com/newer@v1.0.0 requires example.com/app@v1.1.0, not example.com/app@v1.0.0";
    assert!(output.contains(words), "{output}");
}

#[tokio::test]
async fn what_cannot_be_built_fails_in_its_step_with_gos_own_words() {
    let proxy = ModuleProxy::with_examples();
    for (plugin, step, words) in [
        ("example.com/broken", StepName::Compile, "cannot use \"no number\""),
        ("example.com/future", StepName::PinVersions, "requires go >= 1.99"),
        ("example.com/hostile@v1.0.0", StepName::Verify, "hostile: this program ends here"),
    ] {
        let resolved = settled(&proxy, &format!("v1.0.0; {plugin}"), "linux", "amd64").await;
        let (failed, output) = run(&proxy, &resolved).failed.expect(plugin);
        assert_eq!(failed, step, "{plugin}: {output}");
        assert!(output.contains(words), "{plugin}: {output}");
    }
}

/// A number of four bytes at a place.
fn long(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
}

/// The resources of a Windows program: `(type, content)`, by the tree in its section.
fn resources(program: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let short = |at: usize| usize::from(u16::from_le_bytes(program[at..at + 2].try_into().unwrap()));
    let head = long(program, 0x3c);
    let sections = head + 24 + short(head + 20);
    let found = (0..short(head + 6)).map(|number| sections + 40 * number);
    let rsrc = found.into_iter().find(|at| program[*at..].starts_with(b".rsrc\0")).expect("a section of resources");
    let (address, offset) = (long(program, rsrc + 12), long(program, rsrc + 20));
    assert_eq!(long(program, head + 24 + 112 + 16), address, "the third directory of a 64-bit program");
    let entries = |table: usize| (0..short(offset + table + 14)).map(move |number| offset + table + 16 + 8 * number);
    let below = |at: usize| long(program, at + 4) & 0x7fff_ffff;
    let mut all = Vec::new();
    for kind in entries(0) {
        for name in entries(below(kind)) {
            for language in entries(below(name)) {
                let place = offset + below(language);
                let start = long(program, place) - address + offset;
                all.push((long(program, kind), program[start..start + long(program, place + 4)].to_vec()));
            }
        }
    }
    all
}

#[tokio::test]
async fn a_windows_program_says_what_it_is() {
    let proxy = ModuleProxy::with_examples();
    for arch in ["amd64", "arm64"] {
        let resolved = settled(&proxy, "v1.0.0", "windows", arch).await;
        let ran = run(&proxy, &resolved);
        assert_eq!(ran.failed, None);
        assert_eq!(ran.said, "", "what is for another platform is not run");
        assert!(ran.output.ends_with("app.exe"));
        let found = resources(&std::fs::read(&ran.output).unwrap());
        let kinds: Vec<usize> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [16, 24], "a version and a manifest");
        let text: Vec<u16> = found[0].1.chunks(2).map(|pair| u16::from_le_bytes(pair.try_into().unwrap())).collect();
        let text = String::from_utf16_lossy(&text);
        // Names and texts; what ends them and the padding between them left out.
        let text = text.replace('\0', "");
        for words in ["VS_VERSION_INFO", "ProductName", "App", "1.0.0", "OriginalFilename", "app.exe", "Example"] {
            assert!(text.contains(words), "{words:?} is not in {text:?}");
        }
        assert_eq!(long(&found[0].1, 40), 0xFEEF_04BD, "the fixed part is where Windows looks for it");
        assert!(String::from_utf8_lossy(&found[1].1).contains("asInvoker"));
    }
}

#[tokio::test]
async fn the_plugins_of_a_module_are_found_in_its_source() {
    let proxy = ModuleProxy::with_examples();
    let directory = tempfile::tempdir().unwrap();
    let registration = recipe().registration.unwrap();
    for (module, version, expected) in [
        ("example.com/good", "v1.0.0", "example.com/good Plugin app.good"),
        ("example.com/good", "v1.1.0", "example.com/good Plugin app.good"),
        ("example.com/deep", "v1.0.0", "example.com/deep/sub/pkg Plugin app.deep.sub"),
        ("example.com/plain", "v1.0.0", ""),
    ] {
        let (path, version) = (ModulePath::parse(module).unwrap(), Version::parse(version).unwrap());
        let found =
            scan::fetched(&proxies(&proxy.url()), &path, &version, &registration, directory.path()).await.unwrap();
        let shown = found.iter().map(|it| format!("{} {} {}", it.package, it.name, it.id.as_deref().unwrap_or("?")));
        assert_eq!(shown.collect::<Vec<_>>().join("; "), expected, "{module}");
    }
}
