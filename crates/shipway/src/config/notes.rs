//! What a setting of an older system comes to here, for whoever moves over: one sentence each, only
//! where something was given and what happens is not what its words say.

use std::path::{Path, PathBuf};

use super::{Config, Effective, Given, Origin, Serves};

/// The Go that builds are made with, if there is one: its version and where it is.
pub(crate) type Go<'a> = Option<(&'a str, &'a Path)>;

/// Settings with a sentence each, in the order of the settings.
pub(crate) fn notes(effective: &Effective, go: Go<'_>, here: &Path) -> Vec<(&'static str, String)> {
    let given = |key: &'static str| effective.given.get(key).filter(|given| is_said(given));
    let mut notes = Vec::new();
    let mut note = |key: &'static str, text: Option<String>| notes.extend(text.map(|text| (key, text)));
    let api = given("api.host").map(|_| "api.host").or_else(|| given("api.port").map(|_| "api.port"));
    if let Some(key) = api {
        note(key, Some(listens(effective)));
    }
    note("api.go_proxy", given("api.go_proxy").and_then(|given| proxies(&given.text)));
    let env = "the go command has them in every step; they are part of each build's key, which the role api makes: give it \
               the same file";
    note("worker.build_env", given("worker.build_env").map(|_| env.to_owned()));
    note("worker.build_path", given("worker.build_path").map(|given| build_path(&given.text)));
    note("worker.docker_image", given("worker.docker_image").map(|given| image(&given.text, go)));
    let host = "no Docker is asked: each step runs in a sandbox of Shipway's own engine, on this machine";
    note("worker.docker_host", given("worker.docker_host").map(|_| host.to_owned()));
    note("storage.local.path", given("storage.local.path").and_then(|given| storage(&given.text, here)));
    notes
}

fn is_said(given: &Given) -> bool {
    given.origin != Origin::Default && !given.text.trim().is_empty()
}

fn listens(effective: &Effective) -> String {
    for key in ["listen", "port"] {
        if is_said(&effective.given[key]) {
            return format!("not used: `{key}` says where to listen");
        }
    }
    let Config { listeners, api_host, .. } = &effective.config;
    let Some(listener) = listeners.first() else { return "not used".to_owned() };
    let served = match listener.serves {
        Serves::Api => "only the API is served there (`listen` opens more)",
        _ => "the API and services are served there",
    };
    format!(
        "as `listen: {}={}`: {served}; the API answers to {api_host} (`api.public_host`), localhost and loopback \
         addresses, and asks for a token (`shipway token create`, `api.open`)",
        listener.address,
        listener.serves.word()
    )
}

fn proxies(list: &str) -> Option<String> {
    let has_direct = list.split([',', '|']).any(|word| word.trim() == "direct");
    has_direct.then(|| "`direct` is left out: only proxies are asked, never version control".to_owned())
}

fn build_path(path: &str) -> String {
    format!(
        "disks and caches of builds are kept in {path}, which has to be root's own: what others can change is refused"
    )
}

fn image(image: &str, go: Go<'_>) -> String {
    let chosen = "`builds.go` chooses another";
    match go {
        Some((version, root)) => format!(
            "{image} is not fetched: builds are made with Go {version} of {} ({chosen}), on packages of this machine",
            root.display()
        ),
        None => {
            format!("{image} is not fetched, and no Go is found here: install one, or name its folder in `builds.go`")
        }
    }
}

fn storage(path: &str, here: &Path) -> Option<String> {
    let path = PathBuf::from(path);
    // Without the `.` that may stand in it.
    let whole = || here.join(&path).components().collect::<PathBuf>();
    path.is_relative().then(|| format!("below the folder where shipway is started: {} now", whole().display()))
}
