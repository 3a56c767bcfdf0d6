//! The plan's commands, run on this host without a sandbox: they do make a binary that works.

use std::path::{Path, PathBuf};
use std::process::Command;

use shipway_gobuild::plan::{Checksums, Layout, Limits, Output, Settings};
use shipway_gobuild::testing::{ModuleProxy, recipe};
use shipway_gobuild::{Phase, Plan, Platform, Resolved, StepName};

use crate::support::{request_for, resolver};

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
        toolchain: "/usr/local/go".into(),
        modules: at("mod"),
        cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("gocache").display().to_string(),
        source: at("src"),
        home: at("home"),
        output: at("out"),
    }
}

fn settings(proxy: &ModuleProxy, directory: &Path) -> Settings {
    Settings {
        go: "1.26.8".into(),
        sandbox: 1,
        layout: layout(directory),
        proxy: proxy.url(),
        checksums: Checksums { database: "off".into(), exempt: Vec::new() },
        host: Some(Platform::parse("linux", "amd64", None).unwrap()),
        limits: Limits::default(),
    }
}

fn run(proxy: &ModuleProxy, resolved: &Resolved) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(proxy, directory.path());
    let plan = Plan::make(&recipe(), resolved, &settings);
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
    assert!(first.info.contains("example.com/good\tv1.0.0"), "{}", first.info);
    let second = run(&proxy, &resolved);
    let bytes = |ran: &Ran| std::fs::read(&ran.output).unwrap();
    assert!(bytes(&first) == bytes(&second), "the same plan in another directory gives the same bytes");
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
    }
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
