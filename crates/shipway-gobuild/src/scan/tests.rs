use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::recipe::Recipe;
use crate::testing::archive;

fn scan(files: &[(&str, &str)]) -> Result<Vec<Registered>, ZipError> {
    let named = files.iter().map(|(name, text)| (format!("x.com/a@v1.0.0/{name}"), text.as_bytes().to_vec()));
    let mut archive = Archive::open(Cursor::new(archive(named.collect()))).unwrap();
    let (path, version) = (ModulePath::parse("x.com/a").unwrap(), Version::parse("v1.0.0").unwrap());
    module(&mut archive, &path, &version, &Recipe::caddy().registration.unwrap())
}

/// What is found in one source, as `package Type id`.
#[track_caller]
fn check(source: &str, expected: &str) {
    let found = scan(&[("a.go", source)]).unwrap();
    let shown = found.iter().map(|it| format!("{} {}", it.name, it.id.as_deref().unwrap_or("?")));
    assert_eq!(shown.collect::<Vec<_>>().join("; "), expected, "{source}");
}

const METHOD: &str = "func (T) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ ID: \"a.b\", New: func() caddy.Module { return new(T) } } }";

#[test]
fn every_form_of_a_registration_is_found() {
    for call in [
        "caddy.RegisterModule(T{})",
        "caddy.RegisterModule(&T{})",
        "caddy.RegisterModule(new(T))",
        "RegisterModule(T{})",
        "caddy.RegisterModule((*T)(nil))",
        "caddy.RegisterModule(\n\tT{\n\t\tx: 1,\n\t},\n)",
        "c.RegisterModule(T{})",
        "caddy.RegisterModule(pkg.T{})",
        "caddy.RegisterModule(new(pkg.T))",
        "caddy . RegisterModule /* here */ ( & T { } )",
    ] {
        check(&format!("package a\nfunc init() {{ {call} }}\n{METHOD}"), "T a.b");
    }
}

#[test]
fn an_id_may_be_put_together_of_constants() {
    let with = |id: &str| {
        format!(
            "package a\nconst ns string = \"a.\"\nfunc init() {{ x.RegisterModule(T{{}}) }}\nfunc (t *T) CaddyModule() caddy.ModuleInfo {{ return caddy.ModuleInfo{{ ID: {id}, New: f }} }}"
        )
    };
    check(&with("ns + \"b\""), "T a.b");
    check(&with("`a.b`"), "T a.b");
    check(&with("caddy.ModuleID(name())"), "T ?");
}

#[test]
fn what_only_looks_like_one_is_not() {
    check(
        "package a\n// caddy.RegisterModule(T{})\n/* caddy.RegisterModule(T{}) */\nvar s = \"caddy.RegisterModule(T{})\"",
        "",
    );
    check("package caddy\nfunc RegisterModule(instance Module) {}", "");
    check("package a\nfunc init() { caddy.RegisterModule(make()) }", "");
    check("package a\nfunc init() { caddy.RegisterModule(make(T)) }", "");
    check("package a\nvar s = `caddy.RegisterModule(T{})", "");
}

#[test]
fn packages_are_told_apart_and_tests_left_out() {
    let call = format!(
        "package a\n// T is a plugin\n// of some use.\ntype T struct{{}}\nfunc init() {{ caddy.RegisterModule(T{{}}) }}\n{METHOD}"
    );
    let found = scan(&[
        ("sub/a.go", &call),
        ("a_test.go", &call),
        ("testdata/a.go", &call),
        ("vendor/x/a.go", &call),
        ("_x/a.go", &call),
        ("README.md", &call),
        ("b/method.go", METHOD),
        ("b/init.go", "package b\nfunc init() { caddy.RegisterModule(T{}) }"),
    ])
    .unwrap();
    let packages: Vec<&str> = found.iter().map(|it| it.package.as_str()).collect();
    assert_eq!(packages, ["x.com/a/b", "x.com/a/sub"]);
    assert_eq!(found[0].id.as_deref(), Some("a.b"), "a method in another file of the package");
    assert_eq!(found[1].docs, "T is a plugin\nof some use.");
}

#[test]
fn too_much_source_is_refused() {
    let many: Vec<(String, Vec<u8>)> =
        (0..=FILES_MAX).map(|n| (format!("x.com/a@v1.0.0/{n}.go"), Vec::new())).collect();
    let mut archive = Archive::open(Cursor::new(archive(many))).unwrap();
    let (path, version) = (ModulePath::parse("x.com/a").unwrap(), Version::parse("v1.0.0").unwrap());
    assert!(module(&mut archive, &path, &version, &Recipe::caddy().registration.unwrap()).is_err());
}

#[test]
fn large_files_and_packages_are_passed_over() {
    let call = format!("package a\nfunc init() {{ caddy.RegisterModule(T{{}}) }}\n{METHOD}\n");
    let padded = |bytes: usize| format!("{call}//{}", "x".repeat(bytes));
    assert_eq!(scan(&[("a.go", &padded(1 << 10))]).unwrap().len(), 1);
    assert_eq!(scan(&[("a.go", &padded(1 << 20))]).unwrap().len(), 0);
    let filler = "(".repeat((1 << 20) - 1);
    let names: Vec<String> = (0..6).map(|number| format!("a{number}.go")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), filler.as_str())).collect();
    files.push(("z.go", &call));
    assert_eq!(scan(&files).unwrap().len(), 0);
}

proptest! {
    #[test]
    fn no_source_is_too_strange(text in "(\\PC|[\"'`/*{}()&.:\\\\\n]|RegisterModule|CaddyModule|func|new|ID| ){0,200}") {
        scan(&[("a.go", &text)]).unwrap();
    }
}

/// Sources whose every part, looked at again for each other part, would take hours.
#[test]
fn a_package_that_wants_to_be_read_for_ever_is_not() {
    let begun = std::time::Instant::now();
    let of = |piece: &dyn Fn(usize) -> String| {
        let mut text = String::from("package a\n");
        for number in 0.. {
            let more = piece(number);
            if text.len() + more.len() > 1 << 20 {
                break;
            }
            text.push_str(&more);
        }
        text
    };
    let methods = of(&|_| "func (T) CaddyModule() {\n".to_owned());
    let calls = of(&|number| format!("f.RegisterModule(T{number}{{}})\ntype T{number} struct{{\n"));
    let comments = of(&|number| format!("//\ntype T{number} int\n"));
    let constants = of(&|number| format!("c{number} = \"x\"\n"));
    let open = format!("func init() {{ f.RegisterModule(T{{}}) }}\n{}", "(".repeat(1 << 19));
    let files = [("a.go", &*methods), ("b.go", &calls), ("c.go", &comments), ("d.go", &constants), ("e/a.go", &open)];
    let found = scan(&files).unwrap();
    assert!(found.len() <= FOUND_MAX && found.len() > 100, "{}", found.len());
    assert!(begun.elapsed() < std::time::Duration::from_secs(120), "{:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// An archive of strangers: whatever its files are called and hold, looking through it ends.
    #[test]
    fn no_archive_is_too_strange(
        names in proptest::collection::vec("(\\PC|/|\\.\\.|\\.go|a|_|vendor){0,40}", 0..12),
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 12),
    ) {
        let files = names.iter().zip(&contents).map(|(name, content)| {
            let content = [b"package a\nfunc init() { x.RegisterModule(&T{}) }\n", &content[..]].concat();
            (format!("x.com/a@v1.0.0/{name}"), content)
        });
        if let Ok(mut archive) = Archive::open(Cursor::new(archive(files.collect()))) {
            let (path, version) = (ModulePath::parse("x.com/a").unwrap(), Version::parse("v1.0.0").unwrap());
            let found = module(&mut archive, &path, &version, &Recipe::caddy().registration.unwrap());
            prop_assert!(found.is_ok_and(|found| found.len() <= names.len()));
        }
    }
}
