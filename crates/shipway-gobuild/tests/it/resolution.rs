//! What a query means, compared with what the real go command makes of it.

use shipway_gobuild::testing::ModuleProxy;

use crate::support::{go, resolve};

/// Asks both: our resolver by a replacement of an unrelated module (which needs no package),
/// and `go list -m`. Both must say the same version, or both nothing.
#[track_caller]
fn check(proxy: &ModuleProxy, query: &str, expected: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ours = runtime.block_on(resolve(&proxy.url(), &format!("v1.0.0;; x.test/old={query}")));
    let ours = ours.map(|resolved| resolved.replacements[0].version.to_string());
    let shown = ours.clone().unwrap_or_else(|error| error.cause.to_string());
    assert!(shown.contains(expected), "{query}: ours is {shown}, not {expected}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::File::create(directory.path().join("go.mod")).unwrap();
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go.mod.txt"), directory.path().join("go.mod")).unwrap();
    let theirs = go(directory.path(), &proxy.url(), &["list", "-m", "-f", "{{.Version}}", query]);
    let version = String::from_utf8(theirs.stdout).unwrap().trim().to_owned();
    let words = String::from_utf8(theirs.stderr).unwrap();
    assert_eq!(ours.unwrap_or_default(), version, "{query}: go says {words}");
}

/// A proxy with the program, so that only what is asked about can fail.
fn proxy() -> ModuleProxy {
    let proxy = ModuleProxy::new();
    proxy.add("example.com/app", "v1.0.0", &[("go.mod", "module example.com/app\n\ngo 1.25\n")]);
    proxy
}

const PLAIN: &[(&str, &str)] = &[("go.mod", "module x.test/a\n\ngo 1.21\n"), ("a.go", "package a\n")];

#[test]
fn the_latest_is_the_highest_release() {
    let proxy = proxy();
    for version in ["v0.9.0", "v1.9.0", "v1.10.0", "v1.11.0-rc.1"] {
        proxy.add("x.test/a", version, PLAIN);
    }
    check(&proxy, "x.test/a@latest", "v1.10.0");
    check(&proxy, "x.test/a@v1", "v1.10.0");
    check(&proxy, "x.test/a@v1.9", "v1.9.0");
    check(&proxy, "x.test/a@v1.11", "no version of x.test/a matches v1.11; there are v1.11.0-rc.1, v1.10.0");
    check(&proxy, "x.test/a@v0", "v0.9.0");
    check(&proxy, "x.test/a@v1.9.0", "v1.9.0");
    check(
        &proxy,
        "x.test/a@v1.9.1",
        "no version of x.test/a matches v1.9.1; there are v1.11.0-rc.1, v1.10.0, v1.9.0, v0.9.0",
    );
    check(&proxy, "x.test/b@latest", "not found");
}

#[test]
fn without_a_release_a_pre_release_and_then_what_the_proxy_says() {
    let proxy = proxy();
    proxy.add("x.test/pre", "v0.1.0-rc.1", &[]).add("x.test/pre", "v0.1.0-rc.2", &[]);
    check(&proxy, "x.test/pre@latest", "v0.1.0-rc.2");
    let commit = "v0.0.0-20240102030405-abcdef123456";
    proxy.add_unlisted("x.test/commits", commit, &[]);
    check(&proxy, "x.test/commits@latest", "there are none");
    proxy.say("x.test/commits", "@latest", commit).say("x.test/commits", "@v/main.info", commit);
    check(&proxy, "x.test/commits@latest", commit);
    check(&proxy, "x.test/commits@main", commit);
    check(&proxy, "x.test/commits@other", "not found");
    // Pseudo-versions in a list, with no opinion of the proxy: the youngest.
    let proxy = self::proxy();
    for version in [
        "v0.0.0-20240102030405-ffffff123456",
        "v0.0.0-20240202030405-abcdef123456",
        "v0.0.0-20230102030405-abcdef123456",
    ] {
        proxy.add("x.test/listed", version, &[]);
    }
    check(&proxy, "x.test/listed@latest", "v0.0.0-20240202030405-abcdef123456");
}

#[test]
fn what_its_author_took_back_is_not_taken() {
    let proxy = proxy();
    let with = |retract: &str| format!("module x.test/a\n\ngo 1.21\n\nretract {retract}\n");
    for version in ["v1.0.0", "v1.1.0", "v1.2.0-rc.1"] {
        proxy.add("x.test/a", version, PLAIN);
    }
    proxy.add("x.test/a", "v1.1.1", &[("go.mod", &with("[v1.1.0, v1.1.1] // a mistake"))]);
    check(&proxy, "x.test/a@latest", "v1.0.0");
    check(&proxy, "x.test/a@v1.1", "v1.1.1 is retracted by its author: a mistake");
    // A pre-release's word does not count while there is a release.
    proxy.add("x.test/a", "v1.3.0-rc.1", &[("go.mod", &with("v1.0.0"))]);
    check(&proxy, "x.test/a@latest", "v1.0.0");
}

#[test]
fn where_all_is_taken_back_nothing_is_meant() {
    let proxy = proxy();
    let all = ("go.mod", "module x.test/a\n\ngo 1.21\n\n// never mind\nretract [v0.0.0, v1.9.9]\n");
    proxy.add("x.test/a", "v1.0.0", PLAIN).add("x.test/a", "v1.1.0", &[all]);
    check(&proxy, "x.test/a@latest", "x.test/a@v1.1.0 is retracted by its author: never mind");
    // What the proxy takes for the latest is asked for then, and may be taken back as well.
    let commit = "v1.2.0-0.20240102030405-abcdef123456";
    proxy.add_unlisted("x.test/a", commit, &[all]).say("x.test/a", "@latest", commit);
    check(&proxy, "x.test/a@latest", "x.test/a@v1.2.0-0.20240102030405-abcdef123456 is retracted");
    let proxy = self::proxy();
    proxy.add("x.test/a", "v1.1.0", &[all]);
    let commit = "v2.0.0-20240102030405-abcdef123456+incompatible";
    proxy.add_unlisted("x.test/a", commit, &[]).say("x.test/a", "@latest", commit);
    check(&proxy, "x.test/a@latest", commit);
}

#[test]
fn majors_belong_to_their_path() {
    let proxy = proxy();
    let two = ("go.mod", "module x.test/a/v2\n\ngo 1.21\n");
    proxy.add("x.test/a", "v1.0.0", PLAIN).add("x.test/a/v2", "v2.0.0", &[two]).add("x.test/a/v2", "v2.1.0", &[two]);
    check(&proxy, "x.test/a@latest", "v1.0.0");
    check(&proxy, "x.test/a/v2@latest", "v2.1.0");
    check(&proxy, "x.test/a/v2@v2.0", "v2.0.0");
    check(&proxy, "x.test/a/v2@v1.0.0", "it should be v2");
    check(&proxy, "x.test/a@v2.0.0", "it should be v0 or v1");
    proxy.add("gopkg.in/a.v1", "v1.2.0", &[]);
    check(&proxy, "gopkg.in/a.v1@latest", "v1.2.0");
    // A list may hold what does not belong there.
    std::fs::copy(proxy.of("x.test/a/v2").join("@v/list"), proxy.of("x.test/a").join("@v/list")).unwrap();
    check(&proxy, "x.test/a@latest", "no version of x.test/a matches latest");
}

#[test]
fn incompatible_versions_give_way_to_modules() {
    let proxy = proxy();
    // The last compatible one has a go.mod: those above are from before it, or by mistake.
    proxy.add("x.test/a", "v1.0.0", PLAIN).add("x.test/a", "v2.0.0+incompatible", &[]);
    check(&proxy, "x.test/a@latest", "v1.0.0");
    check(&proxy, "x.test/a@v2", "v2.0.0+incompatible");
    check(&proxy, "x.test/a@v2.0.0+incompatible", "v2.0.0+incompatible");
    // It has none: nobody thought of modules there.
    proxy.add("x.test/b", "v1.0.0", &[]).add("x.test/b", "v2.0.0+incompatible", &[]).add(
        "x.test/b",
        "v3.0.0+incompatible",
        &[],
    );
    check(&proxy, "x.test/b@latest", "v3.0.0+incompatible");
    // Only such versions.
    proxy.add("x.test/c", "v2.0.0+incompatible", &[]);
    check(&proxy, "x.test/c@latest", "v2.0.0+incompatible");
    // A pre-release with a go.mod is enough.
    proxy.add("x.test/d", "v1.0.0-rc.1", &[("go.mod", "module x.test/d\n")]);
    proxy.add("x.test/d", "v2.0.0+incompatible", &[]);
    check(&proxy, "x.test/d@latest", "v2.0.0+incompatible");
    proxy.add("x.test/e", "v1.0.0-rc.1", &[("go.mod", "module x.test/e\n\ngo 1.21\n")]);
    proxy.add("x.test/e", "v2.0.0+incompatible", &[]);
    check(&proxy, "x.test/e@latest", "v1.0.0-rc.1");
    // The one with a go.mod was taken back: it does not count.
    proxy.add("x.test/f", "v1.0.0", &[]).add(
        "x.test/f",
        "v1.1.0",
        &[("go.mod", "module x.test/f\n\nretract v1.1.0\n")],
    );
    proxy.add("x.test/f", "v2.0.0+incompatible", &[]);
    check(&proxy, "x.test/f@latest", "v2.0.0+incompatible");
}

#[test]
fn capitals_are_escaped() {
    let proxy = proxy();
    let own = ("go.mod", "module x.test/Azure/SDK\n\ngo 1.21\n");
    proxy.add("x.test/Azure/SDK", "v1.0.0-RC.1", &[own]);
    check(&proxy, "x.test/Azure/SDK@latest", "v1.0.0-RC.1");
    check(&proxy, "x.test/Azure/SDK@v1.0.0-RC.1", "v1.0.0-RC.1");
    check(&proxy, "x.test/azure/sdk@latest", "not found");
}
