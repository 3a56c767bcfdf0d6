use super::*;

fn toolchain(version: &str) -> Toolchain {
    Toolchain { root: PathBuf::from(format!("/go{version}")), version: GoVersion::parse(version).unwrap() }
}

#[track_caller]
fn check(needed: &str, platform: &str, available: &[&str], expected: &str) {
    let available: Vec<Toolchain> = available.iter().map(|version| toolchain(version)).collect();
    let (os, arch) = platform.split_once('/').unwrap();
    let platform = Platform::parse(os, arch, None).unwrap();
    let answer = choose(needed, &platform, &available).map(|it| it.version.to_string());
    assert_eq!(answer.unwrap_or_else(|error| error.to_string()), expected);
}

#[test]
fn the_newest_that_will_do_builds() {
    check("1.25.0", "linux/amd64", &["1.25.3", "1.26.8", "1.24.0"], "1.26.8");
    check("", "linux/amd64", &["1.24.0"], "1.24.0");
    check("1.26", "linux/amd64", &["1.26.0"], "1.26.0");
    check("1.27.0", "linux/amd64", &["1.26.8", "1.25.3"], "Go 1.27.0 or newer is needed; there is 1.26.8");
    check("1.27.0", "linux/amd64", &[], "Go 1.27.0 or newer is needed; there is none");
}

#[test]
fn one_that_no_longer_builds_for_it_is_passed_over() {
    check("1.24.0", "windows/arm", &["1.26.8", "1.25.3"], "1.25.3");
    let ended = "Go 1.26.8 does not build for windows/arm/v6: 32-bit Windows on ARM ended with Go 1.25";
    check("1.26.0", "windows/arm", &["1.26.8", "1.25.3"], ended);
}

#[test]
fn only_a_directory_of_a_toolchain_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let error = || Toolchain::at(directory.path()).unwrap_err().to_string();
    assert!(error().ends_with("there is no bin/go"), "{}", error());
    std::fs::create_dir(directory.path().join("bin")).unwrap();
    std::fs::File::create(directory.path().join("bin/go")).unwrap();
    assert!(error().contains("its VERSION"), "{}", error());
    std::fs::File::create(directory.path().join("VERSION")).unwrap();
    assert!(error().ends_with("its VERSION is none"), "{}", error());
}

#[tokio::test]
async fn the_go_command_of_this_machine_says_what_it_is_set_to() {
    let here = Toolchain::on_this_machine("/usr/bin").remove(0);
    let defaults = defaults(&here).await.unwrap();
    assert!(!defaults.proxy.is_empty() && !defaults.checksums.is_empty(), "{defaults:?}");
}
