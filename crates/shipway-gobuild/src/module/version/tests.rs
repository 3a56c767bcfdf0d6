use super::*;

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

#[test]
fn only_canonical_ones_are_versions() {
    for text in ["v1.2.3", "v0.0.0", "v1.2.3-rc.1", "v2.0.0+incompatible", "v1.2.3-0.x-y", "v1.2.3--"] {
        assert_eq!(version(text).as_str(), text);
    }
    for text in [
        "",
        "v",
        "1.2.3",
        "v1",
        "v1.2",
        "v1.2.3.4",
        "v01.2.3",
        "v1.02.3",
        "v1.2.3-",
        "v1.2.3-01",
        "v1.2.3+",
        "v1.2.3+meta",
        "v1.2.3-a..b",
        "v1.2.3-ä",
        "v1.2.3\n",
        "v-1.2.3",
        "V1.2.3",
    ] {
        assert!(Version::parse(text).is_err(), "{text:?}");
    }
    assert!(Version::parse(&format!("v1.2.3-{}", "a".repeat(1000))).is_err());
}

#[test]
fn their_order_is_that_of_semantic_versions() {
    let sorted = [
        "v0.0.0-20200101000000-abcdef123456",
        "v0.0.1",
        "v0.9.0",
        "v0.10.0",
        "v1.0.0-1",
        "v1.0.0-2",
        "v1.0.0-10",
        "v1.0.0-a",
        "v1.0.0-a.1",
        "v1.0.0-rc.1",
        "v1.0.0-rc.10",
        "v1.0.0",
        "v2.0.0",
        "v2.0.0+incompatible",
        "v10.0.0",
        "v99999999999999999999999999.0.0",
    ];
    for pair in sorted.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
    }
}

#[test]
fn a_commits_version_is_told_from_a_pre_release() {
    for text in [
        "v0.0.0-20060102150405-abcdef123456",
        "v1.2.3-0.20060102150405-abcdef123456",
        "v1.2.3-rc.1.0.20060102150405-abcdef123456",
        "v2.0.0-20060102150405-abcdef123456+incompatible",
    ] {
        assert!(version(text).is_pseudo(), "{text}");
    }
    for text in [
        "v1.2.3",
        "v1.2.3-rc.1",
        "v1.2.3-20060102150405-abcdef123456",
        "v1.2.3-rc.1.20060102150405-abcdef123456",
        "v0.0.0-2006010215040-abcdef123456",
        "v0.0.0-20060102150405",
        "v0.0.0-20060102150405-abc.def",
    ] {
        assert!(!version(text).is_pseudo(), "{text}");
    }
}

#[test]
fn a_version_fits_its_paths_major() {
    let fits = |path: &str, text: &str| version(text).check_major(&ModulePath::parse(path).unwrap()).is_ok();
    assert!(fits("x.com/a", "v0.1.0") && fits("x.com/a", "v1.1.0") && fits("x.com/a", "v2.0.0+incompatible"));
    assert!(fits("x.com/a/v2", "v2.0.0") && fits("gopkg.in/a.v1", "v1.0.0"));
    assert!(fits("gopkg.in/a.v1", "v0.0.0-20060102150405-abcdef123456"));
    assert!(fits("gopkg.in/a.v2-unstable", "v2.0.0"));
    assert!(!fits("x.com/a", "v2.0.0") && !fits("x.com/a/v2", "v1.0.0") && !fits("x.com/a/v2", "v20.0.0"));
    assert!(!fits("gopkg.in/a.v1", "v0.1.0") && !fits("x.com/a/v2", "v3.0.0"));
}

#[test]
fn a_prefix_stands_for_all_that_begin_so() {
    assert!(version("v1.2.3").matches_prefix("v1") && version("v1.2.3").matches_prefix("v1.2"));
    assert!(!version("v1.20.3").matches_prefix("v1.2") && !version("v10.0.0").matches_prefix("v1"));
    assert!(!version("v1.2.0-rc.1").matches_prefix("v1.2") && version("v1.2.1-rc.1").matches_prefix("v1.2"));
    assert!(is_prefix("v1") && is_prefix("v1.2") && !is_prefix("v1.2.3") && !is_prefix("main"));
}
