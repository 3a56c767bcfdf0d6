//! Modules nobody thought of: versions, go.mods and retractions by lot, and a hundred queries
//! that the real go command must answer as we do.

use std::fmt::Write as _;

use shipway_gobuild::resolve::Cause;
use shipway_gobuild::testing::ModuleProxy;

use crate::support::{go, request, resolver};

/// What a module may have.
const VERSIONS: &[&str] = &[
    "v0.1.0",
    "v0.2.0-rc.1",
    "v1.0.0",
    "v1.1.0-beta.2",
    "v1.1.0-beta.10",
    "v1.1.0",
    "v1.2.0-rc.1",
    "v1.2.0",
    "v1.10.0",
    "v2.0.0+incompatible",
    "v2.1.0-rc.1+incompatible",
    "v3.0.0+incompatible",
    "v0.0.0-20240102030405-abcdef123456",
];
/// Ends of retracted ranges.
const ENDS: &[&str] =
    &["v0.0.0", "v0.2.0", "v1.0.0", "v1.1.0", "v1.1.0-beta.10", "v1.2.0", "v1.9.9", "v2.0.0+incompatible", "v3.0.0"];
const QUERIES: &[&str] =
    &["latest", "v0", "v1", "v1.1", "v1.2", "v2", "v1.1.0", "v1.2.0-rc.1", "v2.0.0+incompatible", "v9.9.9"];
const MODULES: usize = 25;
const SEEDS: std::ops::Range<u64> = 1..4;

/// Lots that are always the same: what fails once fails again.
struct Lots(u64);

impl Lots {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A module's `go.mod`, or none.
fn go_mod(lots: &mut Lots, path: &str, version: &str) -> Option<String> {
    if version.ends_with("+incompatible") || lots.below(3) == 0 {
        return None;
    }
    let mut text = format!("module {path}\n\ngo 1.21\n");
    for _ in 0..lots.below(3) {
        let (low, high) = (lots.one(ENDS), lots.one(ENDS));
        // The go command refuses a range whose ends are the wrong way round.
        let range = if ENDS.iter().position(|it| *it == low) <= ENDS.iter().position(|it| *it == high) {
            [low, high]
        } else {
            [high, low]
        };
        write!(text, "\nretract [{}, {}]\n", range[0], range[1]).unwrap();
    }
    Some(text)
}

fn laid_out(lots: &mut Lots) -> ModuleProxy {
    let proxy = ModuleProxy::new();
    proxy.add("example.com/app", "v1.0.0", &[("go.mod", "module example.com/app\n\ngo 1.21\n")]);
    for number in 0..MODULES {
        let path = format!("x.test/m{number}");
        let many = lots.below(6);
        let mut versions: Vec<&str> = (0..=many).map(|_| lots.one(VERSIONS)).collect();
        versions.sort_unstable();
        versions.dedup();
        for version in versions {
            match go_mod(lots, &path, version) {
                Some(text) => proxy.add(&path, version, &[("go.mod", &text)]),
                None => proxy.add(&path, version, &[("m.go", "package m\n")]),
            };
        }
        if lots.below(3) == 0 {
            let version = "v1.9.1-0.20240102030405-abcdef123456";
            proxy.add_unlisted(&path, version, &[("go.mod", &format!("module {path}\n\ngo 1.21\n"))]);
            proxy.say(&path, "@latest", version);
        }
    }
    proxy
}

#[tokio::test]
async fn queries_by_lot_mean_what_go_makes_of_them() {
    for seed in SEEDS {
        compare(seed).await;
    }
}

async fn compare(seed: u64) {
    let mut lots = Lots(seed);
    let proxy = laid_out(&mut lots);
    let queries: Vec<String> =
        (0..MODULES * 4).map(|at| format!("x.test/m{}@{}", at % MODULES, lots.one(QUERIES))).collect();
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go.mod.txt"), directory.path().join("go.mod")).unwrap();
    let format = "{{if .Error}}error {{.Error.Err}}{{else}}{{.Version}}{{end}}";
    let args: Vec<&str> =
        ["list", "-m", "-e", "-f", format].into_iter().chain(queries.iter().map(String::as_str)).collect();
    let done = go(directory.path(), &proxy.url(), &args);
    let theirs = String::from_utf8(done.stdout).unwrap();
    assert_eq!(theirs.lines().count(), queries.len(), "{}", String::from_utf8_lossy(&done.stderr));
    let resolver = resolver(&proxy.url());
    let (mut same, mut settled, mut refused) = (0, 0, 0);
    for (query, theirs) in queries.iter().zip(theirs.lines()) {
        let request = request(&format!("v1.0.0;; x.test/old={query}"));
        let ours = match resolver.resolve(&shipway_gobuild::testing::recipe(), &request).await {
            Ok(resolved) => resolved.replacements[0].version.to_string(),
            // By name, Go takes what its author took back; we do not.
            Err(error) if matches!(error.cause, Cause::Retracted { .. }) && theirs.starts_with("v") => {
                assert!(query.ends_with(theirs), "{query}: {error}; go says {theirs}");
                refused += 1;
                continue;
            }
            Err(error) => format!("error {error}"),
        };
        if theirs.starts_with("error") {
            assert!(ours.starts_with("error"), "{seed}: {query}: ours is {ours}, go says {theirs}");
        } else {
            assert_eq!(ours, theirs, "{seed}: {query}");
            settled += 1;
        }
        same += 1;
    }
    assert!(same + refused == queries.len() && settled > 15, "{settled} of {same} are versions, {refused} retracted");
}
