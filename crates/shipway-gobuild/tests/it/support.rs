//! What the tests share: a resolver of a list, the go command, requests by text.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use shipway_gobuild::proxy::{ProxiesConfig, ProxyLimits, ProxyList};
use shipway_gobuild::request::{parse_plugin, parse_replacement};
use shipway_gobuild::resolve::{ResolveError, Resolver};
use shipway_gobuild::testing::recipe;
use shipway_gobuild::toolchain::Toolchain;
use shipway_gobuild::{Platform, Proxies, Query, Request, Resolved};

/// The newest Go of this machine; scripts/setup.sh sees to one.
pub(crate) fn toolchain() -> Toolchain {
    Toolchain::on_this_machine("/usr/bin").into_iter().next().expect("Go is installed")
}

/// Proxies of a `GOPROXY`, with limits that a test can wait for.
pub(crate) fn proxies(list: &str) -> Proxies {
    proxies_with(list, ProxyLimits::default())
}

pub(crate) fn proxies_with(list: &str, limits: ProxyLimits) -> Proxies {
    Proxies::open(ProxiesConfig { list: ProxyList::parse(list).unwrap(), ca_file: None, limits }).unwrap()
}

pub(crate) fn resolver(list: &str) -> Resolver {
    Resolver::new(proxies(list), Duration::from_secs(60))
}

/// `version; plugins; replacements` for the tests' own program.
pub(crate) fn request(text: &str) -> Request {
    request_for(text, "linux", "amd64")
}

pub(crate) fn request_for(text: &str, os: &str, arch: &str) -> Request {
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    let words = |at: usize| parts.get(at).map_or("", |part| part).split(' ').filter(|word| !word.is_empty());
    Request::new(
        &recipe(),
        Query::parse(parts[0]).unwrap(),
        words(1).map(|word| parse_plugin(word).unwrap()).collect(),
        words(2).map(|word| parse_replacement(word).unwrap()).collect(),
        Platform::parse(os, arch, None).unwrap(),
        100,
    )
    .unwrap()
}

pub(crate) async fn resolve(list: &str, text: &str) -> Result<Resolved, ResolveError> {
    resolver(list).resolve(&recipe(), &request(text)).await
}

/// Runs the go command in `directory` with nothing but this proxy, caches beneath `directory`.
pub(crate) fn go(directory: &Path, proxy: &str, args: &[&str]) -> Output {
    let at = |name: &str| directory.join(name).display().to_string();
    let root = toolchain().root;
    Command::new(root.join("bin/go"))
        .args(args)
        .current_dir(directory)
        .env_clear()
        .env("PATH", root.join("bin"))
        .env("HOME", at("home"))
        .env("GOMODCACHE", at("mod"))
        .env("GOCACHE", at("cache"))
        .env("GOPROXY", proxy)
        .env("GOSUMDB", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOENV", "off")
        .env("GOVCS", "*:off")
        .env("GOFLAGS", "-mod=mod -modcacherw")
        .output()
        .unwrap()
}
