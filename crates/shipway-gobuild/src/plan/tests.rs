use super::*;
use crate::module::{ImportPath, ModulePath, Version};
use crate::platform::Platform;
use crate::recipe::Recipe;
use crate::resolved::{Resolved, Settled, SettledPlugin, SettledReplacement};

fn settings() -> Settings {
    Settings {
        go: "1.26.8".into(),
        sandbox: 1,
        layout: Layout::default(),
        proxy: "http://127.0.0.1:8081".into(),
        checksums: Checksums { database: "sum.test".into(), exempt: vec!["x.test/a".into()] },
        host: Some(Platform::parse("linux", "amd64", None).unwrap()),
        limits: Limits::default(),
    }
}

fn module(text: &str) -> (ModulePath, Version) {
    let (path, version) = text.split_once('@').unwrap();
    (ModulePath::parse(path).unwrap(), Version::parse(version).unwrap())
}

fn resolved(recipe: &str, program: &str, plugins: &[&str], platform: &str) -> Resolved {
    let (path, version) = module(program);
    let (os, arch) = platform.split_once('/').unwrap();
    let plugin = |text: &&str| {
        let (module, version) = module(text);
        SettledPlugin { package: ImportPath::parse(&format!("{module}/pkg")).unwrap(), module, version }
    };
    Resolved {
        recipe: recipe.into(),
        program: Settled { module: path, version },
        plugins: plugins.iter().map(plugin).collect(),
        replacements: Vec::new(),
        platform: Platform::parse(os, arch, None).unwrap(),
        go: "1.25.0".into(),
    }
}

/// A plan as a person would write it down.
fn shown(plan: &Plan) -> String {
    let mut text = format!("{} as {}\n", plan.output, plan.file_name);
    for step in &plan.steps {
        text.push_str(&format!("\n== {:?} ({:?}, {}s)\n", step.name, step.phase, step.deadline.as_secs()));
        for file in &step.files {
            let content =
                String::from_utf8(file.content.clone()).unwrap_or_else(|_| format!("{} bytes\n", file.content.len()));
            text.push_str(&format!("-- {}\n{content}", file.path));
        }
        for command in &step.commands {
            let env: Vec<String> = command.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text.push_str(&format!("$ {:?} > {:?}\n  {}\n", command.argv, command.output, env.join(" ")));
        }
    }
    text
}

#[test]
fn caddy_for_windows_is_made_as_xcaddy_makes_it() {
    let mut resolved = resolved(
        "caddy",
        "github.com/caddyserver/caddy/v2@v2.11.9",
        &["x.test/a@v1.0.0", "x.test/b/v2@v2.1.0"],
        "windows/arm64",
    );
    let (new, version) = module("x.test/c@v1.2.3");
    let old = ModulePath::parse("x.test/b/v2").unwrap();
    resolved.replacements.push(SettledReplacement { old, old_version: None, new, version });
    insta::assert_snapshot!(shown(&Plan::make(&Recipe::caddy(), &resolved, &settings())));
}

#[test]
fn k6_is_made_by_the_same_code() {
    let resolved = resolved("k6", "go.k6.io/k6@v1.8.1", &["x.test/a@v1.0.0"], "linux/amd64");
    insta::assert_snapshot!(shown(&Plan::make(&Recipe::k6(), &resolved, &settings())));
}

#[test]
fn every_command_is_an_absolute_program_with_a_closed_environment() {
    let resolved = resolved("caddy", "github.com/caddyserver/caddy/v2@v2.11.9", &["x.test/a@v1.0.0"], "linux/amd64");
    let plan = Plan::make(&Recipe::caddy(), &resolved, &settings());
    for command in plan.steps.iter().flat_map(|step| &step.commands) {
        assert!(command.argv[0].starts_with('/') && command.directory.starts_with('/'), "{command:?}");
        if command.output != Output::Program {
            for (name, value) in [("GOENV", "off"), ("GOVCS", "*:off"), ("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0")]
            {
                assert_eq!(command.env.get(name).map(String::as_str), Some(value), "{command:?}");
            }
        }
    }
    let build = plan.steps.iter().filter(|step| step.phase == Phase::Build).flat_map(|step| &step.commands);
    for command in build.filter(|command| command.output != Output::Program) {
        assert_eq!(command.env["GOPROXY"], "off");
        assert!(command.env["GOFLAGS"].contains("-mod=readonly"));
    }
}

#[test]
fn variables_of_the_operator_reach_the_go_command_and_nothing_that_is_built() {
    let resolved = resolved("caddy", "github.com/caddyserver/caddy/v2@v2.11.9", &[], "linux/amd64");
    let mut recipe = Recipe::caddy();
    // As if the check had let it through: what the plan sets stands.
    for (name, value) in [("GOAMD64", "v3"), ("GOPROXY", "elsewhere"), ("GOOS", "plan9"), ("CGO_ENABLED", "1")] {
        recipe.env.insert(name.to_owned(), value.to_owned());
    }
    let plan = Plan::make(&recipe, &resolved, &settings());
    for command in plan.steps.iter().flat_map(|step| &step.commands) {
        let value = |name: &str| command.env.get(name).map(String::as_str);
        let is_go = command.output != Output::Program;
        assert_eq!(value("GOAMD64"), is_go.then_some("v3"), "{command:?}");
        assert!(value("GOPROXY") != Some("elsewhere") && value("GOOS") != Some("plan9"), "{command:?}");
        assert_ne!(value("CGO_ENABLED"), Some("1"), "{command:?}");
    }
}

#[test]
fn the_key_of_a_recipe_without_variables_is_what_it_always_was() {
    let json = serde_json::to_string(&Recipe::caddy()).unwrap();
    assert!(!json.contains("\"env\""), "{json}");
    let resolved = resolved("caddy", "github.com/caddyserver/caddy/v2@v2.11.9", &[], "linux/amd64");
    let key = BuildKey::of(&Recipe::caddy(), &resolved, "1.26.8", 1);
    assert_eq!(key.as_str(), "3d0c081b41e6480a1ebc869cdf0e768d4b4fa1b413b762a5af4a4579423df6c1");
}

#[test]
fn the_key_changes_with_whatever_changes_the_bytes() {
    let base = || resolved("caddy", "github.com/caddyserver/caddy/v2@v2.11.9", &["x.test/a@v1.0.0"], "linux/arm");
    let key = |resolved: &Resolved, go: &str, sandbox: u32| BuildKey::of(&Recipe::caddy(), resolved, go, sandbox);
    let first = key(&base(), "1.26.8", 1);
    assert_eq!(first, key(&base(), "1.26.8", 1));
    assert_eq!(BuildKey::parse(first.as_str()), Ok(first.clone()));
    let mut others = vec![key(&base(), "1.26.9", 1), key(&base(), "1.26.8", 2)];
    others.push(BuildKey::of(&Recipe::k6(), &base(), "1.26.8", 1));
    let mut tags = Recipe::caddy();
    tags.tags.pop();
    others.push(BuildKey::of(&tags, &base(), "1.26.8", 1));
    let v3 = BTreeMap::from([("GOAMD64".to_owned(), "v3".to_owned())]);
    others.push(BuildKey::of(&Recipe::caddy().with_env(v3).unwrap(), &base(), "1.26.8", 1));
    let mut changed = |change: &dyn Fn(&mut Resolved)| {
        let mut resolved = base();
        change(&mut resolved);
        others.push(key(&resolved, "1.26.8", 1));
    };
    changed(&|it| it.platform = Platform::parse("linux", "arm", Some("7")).unwrap());
    changed(&|it| it.platform = Platform::parse("freebsd", "arm", None).unwrap());
    changed(&|it| it.plugins[0].version = Version::parse("v1.0.1").unwrap());
    changed(&|it| it.plugins.clear());
    changed(&|it| it.program.version = Version::parse("v2.11.8").unwrap());
    changed(&|it| {
        let (new, version) = module("x.test/c@v1.2.3");
        it.replacements.push(SettledReplacement { old: new.clone(), old_version: None, new, version });
    });
    others.push(first);
    let count = others.len();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), count);
}

#[test]
fn only_keys_are_keys() {
    for text in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65), &"../".repeat(21)] {
        assert!(BuildKey::parse(text).is_err(), "{text}");
    }
}
