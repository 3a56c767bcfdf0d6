//! The whole environment of each command: nothing of the host's gets in, and of an operator's own
//! what the recipe carries (see [`crate::recipe::env`]).

use std::collections::BTreeMap;

use super::settings::Settings;
use crate::platform::Platform;

/// Variables of the recipe's, which its operator wants builds to have.
type Variables = BTreeMap<String, String>;

/// Environment of the go command where it may reach the module proxy.
///
/// The platform is fixed to one, whatever is built for: which modules a program needs must not
/// depend on where it will run.
pub(super) fn download(settings: &Settings, own: &Variables) -> BTreeMap<String, String> {
    let checksums = &settings.checksums;
    let mut env = common(settings, own);
    set(&mut env, "GOFLAGS", "-mod=mod -modcacherw");
    set(&mut env, "GOPROXY", &settings.proxy);
    set(&mut env, "GOSUMDB", &checksums.database);
    set(&mut env, "GONOSUMDB", &checksums.exempt.join(","));
    set(&mut env, "GOOS", "linux");
    set(&mut env, "GOARCH", "amd64");
    env
}

/// Environment of the go command that compiles for `platform`, reaching nothing.
pub(super) fn build(settings: &Settings, own: &Variables, platform: &Platform) -> BTreeMap<String, String> {
    let mut env = common(settings, own);
    set(&mut env, "GOFLAGS", "-mod=readonly -modcacherw");
    set(&mut env, "GOPROXY", "off");
    set(&mut env, "GOSUMDB", "off");
    env.extend(self::platform(platform));
    env
}

/// What is built for.
pub(super) fn platform(platform: &Platform) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    set(&mut env, "GOOS", platform.os());
    set(&mut env, "GOARCH", platform.arch());
    if let Some(arm) = platform.arm() {
        set(&mut env, "GOARM", &arm.to_string());
    }
    env
}

/// Environment of the built program when it is run to see that it runs.
pub(super) fn program(settings: &Settings) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    set(&mut env, "HOME", &settings.layout.home);
    set(&mut env, "TMPDIR", &settings.layout.home);
    set(&mut env, "PATH", "/nowhere");
    env
}

/// The operator's come first: whatever is set here stands, even if it should be among them.
fn common(settings: &Settings, own: &Variables) -> BTreeMap<String, String> {
    let layout = &settings.layout;
    let mut env = own.clone();
    for (name, value) in [
        ("CGO_ENABLED", "0"),
        // Neither the user's nor the system's settings file.
        ("GOENV", "off"),
        // Version control is never run: not for a download, and not for a stamp of the program.
        ("GOVCS", "*:off"),
        // Another tool chain is never fetched behind our back.
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("GOAUTH", "off"),
        ("GOTELEMETRY", "off"),
        ("LANG", "C"),
        ("SOURCE_DATE_EPOCH", "0"),
    ] {
        set(&mut env, name, value);
    }
    set(&mut env, "PATH", &format!("{}/bin", layout.toolchain));
    set(&mut env, "GOROOT", &layout.toolchain);
    set(&mut env, "GOPATH", &format!("{}/gopath", layout.home));
    set(&mut env, "GOMODCACHE", &layout.modules);
    set(&mut env, "GOCACHE", &layout.cache);
    for name in ["HOME", "TMPDIR", "GOTMPDIR"] {
        set(&mut env, name, &layout.home);
    }
    env
}

fn set(env: &mut BTreeMap<String, String>, name: &str, value: &str) {
    env.insert(name.to_owned(), value.to_owned());
}
