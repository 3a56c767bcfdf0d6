//! Packages found in their modules, and what is wrong with those that are not.

use shipway_gobuild::resolve::Verdict;
use shipway_gobuild::testing::ModuleProxy;

use crate::support::resolve;

/// The plugins settled, as `package in module@version`, or the error.
#[track_caller]
fn check(proxy: &ModuleProxy, plugins: &str, expected: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(resolve(&proxy.url(), &format!("v1.0.0; {plugins}")));
    let shown = match answer {
        Ok(resolved) => {
            let each = resolved.plugins.iter().map(|it| format!("{} in {}@{}", it.package, it.module, it.version));
            each.collect::<Vec<_>>().join("; ")
        }
        Err(error) => format!("{:?}: {error}", error.verdict()).replace(&proxy.url(), "PROXY"),
    };
    assert_eq!(shown, expected, "{plugins}");
}

#[test]
fn a_package_is_found_in_the_longest_module_that_holds_it() {
    let proxy = ModuleProxy::with_examples();
    check(&proxy, "example.com/good", "example.com/good in example.com/good@v1.1.0");
    check(&proxy, "example.com/deep/sub/pkg", "example.com/deep/sub/pkg in example.com/deep@v1.0.0");
    check(&proxy, "example.com/major/v2", "example.com/major/v2 in example.com/major/v2@v2.0.0");
    // A module that begins further down hides what lies below it.
    let nested = [("go.mod", "module example.com/deep/sub\n"), ("pkg/pkg.go", "package pkg\n")];
    proxy.add("example.com/deep/sub", "v0.3.0", &nested);
    check(&proxy, "example.com/deep/sub/pkg", "example.com/deep/sub/pkg in example.com/deep/sub@v0.3.0");
    // One that is there but holds something else does not.
    proxy.add("example.com/deep/sub/pkg", "v0.4.0", &[("go.mod", "module example.com/deep/sub/pkg\n"), ("README", "")]);
    check(&proxy, "example.com/deep/sub/pkg", "example.com/deep/sub/pkg in example.com/deep/sub@v0.3.0");
}

#[test]
fn the_major_of_a_version_finds_its_path() {
    let proxy = ModuleProxy::with_examples();
    let found = "example.com/major/v2 in example.com/major/v2@v2.0.0";
    check(&proxy, "example.com/major@v2.0.0", found);
    check(&proxy, "example.com/major@v2", found);
    check(&proxy, "example.com/major/v2@v2.0.0", found);
    let wrong = "Mistake: example.com/major/v2@v1.0.0: v1.0.0 is no version of example.com/major/v2: it should be v2";
    check(&proxy, "example.com/major/v2@v1.0.0", wrong);
}

#[test]
fn what_cannot_be_used_is_named_with_what_was_tried() {
    let proxy = ModuleProxy::with_examples();
    check(
        &proxy,
        "example.com/nothing",
        "Mistake: example.com/nothing@latest: example.com/nothing/@v/list: not found (PROXY: no such file)",
    );
    check(
        &proxy,
        "example.com/good@v9.9.9 example.com/deep/sub/pkg",
        "Mistake: example.com/good@v9.9.9: v9.9.9 is no version of example.com/good: it should be v0 or v1",
    );
    check(
        &proxy,
        "example.com/deep",
        "Mistake: example.com/deep@latest: no module holds the package; looked in example.com/deep@v1.0.0",
    );
    check(
        &proxy,
        "example.com/gone",
        "Mistake: example.com/gone@latest: example.com/gone@v1.0.0 is retracted by its author: never mind",
    );
    check(
        &proxy,
        "example.com/retracted@v1.0.1",
        "Mistake: example.com/retracted@v1.0.1: example.com/retracted@v1.0.1 is retracted by its author: published by mistake",
    );
    check(&proxy, "example.com/retracted", "example.com/retracted in example.com/retracted@v1.0.0");
    proxy.add("example.com/fork", "v1.0.0", &[("go.mod", "module example.com/good\n"), ("good.go", "package good\n")]);
    check(
        &proxy,
        "example.com/fork",
        "Mistake: example.com/fork@latest: its go.mod says that it is example.com/good; ask for that path",
    );
}

#[test]
fn packages_of_one_module_agree_on_its_version() {
    let proxy = ModuleProxy::with_examples();
    let more =
        [("go.mod", "module example.com/deep\n"), ("sub/pkg/pkg.go", "package pkg\n"), ("b/b.go", "package b\n")];
    proxy.add("example.com/deep", "v1.1.0", &more);
    check(
        &proxy,
        "example.com/deep/sub/pkg@v1.0.0 example.com/deep/b@v1.1.0",
        "Mistake: example.com/deep/sub/pkg: example.com/deep is needed at two versions: v1.1.0 for example.com/deep/b, \
         v1.0.0 for example.com/deep/sub/pkg",
    );
    check(
        &proxy,
        "example.com/deep/sub/pkg example.com/deep/b",
        "example.com/deep/b in example.com/deep@v1.1.0; example.com/deep/sub/pkg in example.com/deep@v1.1.0",
    );
}

#[test]
fn what_is_replaced_need_not_exist() {
    let proxy = ModuleProxy::with_examples();
    let zero = "v0.0.0-00010101000000-000000000000";
    let found = format!("example.com/lost in example.com/lost@{zero}");
    check(&proxy, "example.com/lost; example.com/lost=example.com/plain@v1.0.0", &found);
    let looked =
        "Mistake: example.com/lost/sub@latest: no module holds the package; looked in example.com/plain@v1.0.0";
    check(&proxy, "example.com/lost/sub; example.com/lost=example.com/plain@v1.0.0", looked);
}

#[test]
fn archives_that_lie_are_the_proxys_fault() {
    let proxy = ModuleProxy::with_examples();
    let zip = proxy.of("example.com/good").join("@v/v1.1.0.zip");
    let sound = std::fs::read(&zip).unwrap();
    let verdict = |bytes: &[u8]| {
        std::fs::File::create(&zip).and_then(|mut file| std::io::Write::write_all(&mut file, bytes)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(resolve(&proxy.url(), "v1.0.0; example.com/good")).map_err(|error| error.verdict())
    };
    assert!(verdict(&sound).is_ok());
    assert_eq!(verdict(b"").unwrap_err(), Verdict::Broken);
    assert_eq!(verdict(&sound[..sound.len() - 1]).unwrap_err(), Verdict::Broken);
    assert_eq!(verdict(&sound[100..]).unwrap_err(), Verdict::Broken);
    assert_eq!(verdict(&[&sound[..], b"more"].concat()).unwrap_err(), Verdict::Broken);
}
