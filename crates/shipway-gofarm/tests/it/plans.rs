//! Plans of a small program, `example.org/app`, and commands of a test's own on a bench.

use std::collections::BTreeMap;
use std::time::Duration;

use shipway_gobuild::plan::{Layout, Output};
use shipway_gobuild::testing::ModuleProxy;
use shipway_gobuild::{BuildKey, Command, File, Phase, Plan, Step, StepName};
use shipway_gofarm::door;

/// Lays the program out, with plugins for it.
pub(crate) fn example() -> ModuleProxy {
    let proxy = ModuleProxy::new();
    let main = "package cmd\n\nimport (\n\t\"os\"\n\t\"sort\"\n\t\"strings\"\n)\n\nvar plugins []string\n\n\
                // Register adds a plugin.\nfunc Register(name string) { plugins = append(plugins, name) }\n\n\
                // Main is the program.\nfunc Main() {\n\tsort.Strings(plugins)\n\t\
                os.Stdout.WriteString(strings.Join(plugins, \"\\n\") + \"\\n\")\n}\n";
    proxy.add("example.org/app", "v1.0.0", &[("go.mod", "module example.org/app\n\ngo 1.21\n"), ("cmd/cmd.go", main)]);
    plugin(&proxy, "example.org/good", "", "cmd.Register(\"good\")");
    proxy
}

/// Adds a plugin, v1.0.0, whose `init` does this.
pub(crate) fn plugin(proxy: &ModuleProxy, module: &str, imports: &str, init: &str) {
    let source = format!(
        "package plugin\n\nimport (\n\t\"example.org/app/cmd\"\n{imports})\n\nvar _ = cmd.Register\n\nfunc init() {{\n\t{init}\n}}\n"
    );
    add(proxy, module, &[("plugin.go", &source)], "1.21");
}

/// Adds a module, v1.0.0, that needs the program.
pub(crate) fn add(proxy: &ModuleProxy, module: &str, files: &[(&str, &str)], go: &str) {
    let go_mod = format!("module {module}\n\ngo {go}\n\nrequire example.org/app v1.0.0\n");
    let files: Vec<(&str, &str)> = files.iter().copied().chain([("go.mod", go_mod.as_str())]).collect();
    proxy.add(module, "v1.0.0", &files);
}

/// A plan for the program with these plugins, as `shipway-gobuild` makes them.
pub(crate) fn plan(plugins: &[&str]) -> Plan {
    plan_for(plugins, "linux", "amd64")
}

pub(crate) fn plan_for(plugins: &[&str], os: &str, arch: &str) -> Plan {
    let source = Layout::default().source;
    let imports: String = plugins.iter().map(|plugin| format!("\t_ \"{plugin}\"\n")).collect();
    let main = format!(
        "package main\n\nimport (\n\tappcmd \"example.org/app/cmd\"\n{imports})\n\nfunc main() {{ appcmd.Main() }}\n"
    );
    let file = |name: &str, content: &str| File { path: format!("{source}/{name}"), content: content.into() };
    let output = format!("{}/app", Layout::default().output);
    let modules =
        ["example.org/app"].into_iter().chain(plugins.iter().copied()).map(|module| format!("{module}@v1.0.0"));
    let get: Vec<String> = ["get", "-v"].map(str::to_owned).into_iter().chain(modules).collect();
    let get: Vec<&str> = get.iter().map(String::as_str).collect();
    let compile = ["build", "-trimpath", "-buildvcs=false", "-ldflags", "-w -s", "-o", &output, "."];
    let mut verify = vec![command(&go(), &["version", "-m", &output], &build(os, arch), Output::BuildInfo)];
    if os == "linux" && arch == "amd64" {
        verify.push(command(&output, &[], &BTreeMap::new(), Output::Program));
    }
    let key = format!("{:0>64}", plugins.iter().map(|plugin| plugin.len()).sum::<usize>());
    Plan {
        key: BuildKey::parse(&key).unwrap(),
        steps: vec![
            step(StepName::CreateEnvironment, Phase::Download, vec![file("main.go", &main)], Vec::new()),
            step(
                StepName::InitializeModule,
                Phase::Download,
                vec![file("go.mod", "module app\n\ngo 1.21\n")],
                Vec::new(),
            ),
            step(
                StepName::PinVersions,
                Phase::Download,
                Vec::new(),
                vec![command(&go(), &get, &download(), Output::Log)],
            ),
            step(
                StepName::TidyModule,
                Phase::Download,
                Vec::new(),
                vec![command(&go(), &["mod", "tidy"], &download(), Output::Log)],
            ),
            step(
                StepName::Compile,
                Phase::Build,
                Vec::new(),
                vec![command(&go(), &compile, &build(os, arch), Output::Log)],
            ),
            step(StepName::Verify, Phase::Build, Vec::new(), verify),
        ],
        output,
        file_name: "app".to_owned(),
    }
}

/// A plan of one step that runs a shell script of the test's.
pub(crate) fn script(phase: Phase, script: &str) -> Plan {
    let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
    let command = command("/bin/sh", &["-c", script], &env, Output::Log);
    let name = if phase == Phase::Download { StepName::PinVersions } else { StepName::Compile };
    Plan {
        key: BuildKey::parse(&"f".repeat(64)).unwrap(),
        steps: vec![step(name, phase, Vec::new(), vec![command])],
        output: format!("{}/app", Layout::default().output),
        file_name: "app".to_owned(),
    }
}

pub(crate) fn step(name: StepName, phase: Phase, files: Vec<File>, commands: Vec<Command>) -> Step {
    Step { name, phase, files, commands, deadline: Duration::from_secs(600), memory_bytes: 1 << 30 }
}

pub(crate) fn command(program: &str, words: &[&str], env: &BTreeMap<String, String>, output: Output) -> Command {
    let argv = std::iter::once(program).chain(words.iter().copied()).map(str::to_owned).collect();
    Command { argv, env: env.clone(), directory: Layout::default().source, output }
}

pub(crate) fn go() -> String {
    format!("{}/bin/go", Layout::default().toolchain)
}

pub(crate) fn download() -> BTreeMap<String, String> {
    with(&[("GOPROXY", door::URL), ("GOSUMDB", "off"), ("GOFLAGS", "-mod=mod -modcacherw")])
}

pub(crate) fn build(os: &str, arch: &str) -> BTreeMap<String, String> {
    with(&[("GOPROXY", "off"), ("GOFLAGS", "-mod=readonly -modcacherw"), ("GOOS", os), ("GOARCH", arch)])
}

fn with(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let layout = Layout::default();
    let path = format!("{}/bin", layout.toolchain);
    let common = [
        ("CGO_ENABLED", "0"),
        ("GOENV", "off"),
        ("GOVCS", "*:off"),
        ("GOTOOLCHAIN", "local"),
        ("GOTELEMETRY", "off"),
        ("PATH", &path),
        ("GOROOT", &layout.toolchain),
        ("GOPATH", &layout.home),
        ("GOMODCACHE", &layout.modules),
        ("GOCACHE", &layout.cache),
        ("HOME", &layout.home),
        ("GOTMPDIR", &layout.home),
    ];
    common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
