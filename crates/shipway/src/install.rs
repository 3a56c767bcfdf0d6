//! `shipway install` and `shipway uninstall`: this binary as a service of systemd's.
//!
//! Everything they write is named in [`Plan`]; uninstalling removes exactly that,
//! and the state only with `--purge`.

mod units;

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use shipway_stdx::fs::{Durability, remove_if_there, write_atomic};

use crate::config::{self, Config, Sources};
use crate::{program, upgrade};

/// What `/etc/shipway/config.yml` says at first.
const FIRST_CONFIG: &str = include_str!("../../../packaging/config.yml");
const SERVICE: &str = "shipway.service";
const SOCKET: &str = "shipway.socket";

/// Where everything goes.
struct Plan {
    binary: PathBuf,
    config: PathBuf,
    units: PathBuf,
}

impl Plan {
    fn new() -> Self {
        Self {
            binary: PathBuf::from("/usr/local/bin/shipway"),
            config: PathBuf::from("/etc/shipway/config.yml"),
            units: PathBuf::from("/etc/systemd/system"),
        }
    }
}

/// Installs this binary and starts it. Doing it again brings everything up to date.
pub(crate) fn install() -> anyhow::Result<()> {
    check_host("install")?;
    ensure!(!is_packaged(), "a package has installed shipway already (/usr/bin/shipway); use its own commands");
    let plan = Plan::new();
    let config = first_config(&plan)?;
    let addresses: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
    let runs = is_active(SERVICE);
    if !runs {
        copy_binary(&plan.binary)?;
    }
    write_unit(&plan, SERVICE, &units::service(&plan.binary, &plan.config))?;
    write_unit(&plan, SOCKET, &units::socket(&plan.config, &addresses))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", SOCKET, SERVICE])?;
    if runs {
        say("telling the running shipway to make room for this one");
        // As by hand: in its place, watched until it serves, and taken back if it does not.
        upgrade::upgrade(&config, Path::new(program::OWN), false)?;
    } else {
        say("starting (the first time makes an image of this host's packages)");
        systemctl(&["start", SOCKET, SERVICE])?;
    }
    say(&format!("shipway runs; its configuration is {}, its state /var/lib/shipway", plan.config.display()));
    say("try `shipway deploy FILE --script`, `systemctl status shipway`, `journalctl -u shipway`");
    Ok(())
}

/// The configuration; a first one is written if there is none.
fn first_config(plan: &Plan) -> anyhow::Result<Config> {
    if !plan.config.exists() {
        fs::create_dir_all(plan.config.parent().context("the configuration has no folder")?)?;
        write_atomic(&plan.config, FIRST_CONFIG.as_bytes(), 0o644, Durability::Power)?;
        say(&format!("wrote {}", plan.config.display()));
    }
    load(plan)
}

/// The configuration as the unit will have it: nothing of this terminal's environment.
fn load(plan: &Plan) -> anyhow::Result<Config> {
    let sources = Sources { file: Some(plan.config.clone()), ..Sources::default() };
    Ok(config::load(&sources)?.config)
}

fn copy_binary(to: &Path) -> anyhow::Result<()> {
    let own = Path::new(program::OWN);
    if fs::canonicalize(own)? == to {
        return Ok(());
    }
    let new = to.with_extension("new");
    program::copy(own, &new)?;
    fs::rename(&new, to).with_context(|| format!("cannot replace {}", to.display()))?;
    say(&format!("wrote {}", to.display()));
    Ok(())
}

fn write_unit(plan: &Plan, name: &str, text: &str) -> anyhow::Result<()> {
    let path = plan.units.join(name);
    write_atomic(&path, text.as_bytes(), 0o644, Durability::Power)?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// Ends the service and everything it runs, and removes what `install` has written.
/// With `purge` the state and the configuration too.
pub(crate) async fn uninstall(purge: bool) -> anyhow::Result<()> {
    check_host("uninstall")?;
    ensure!(!is_packaged(), "a package has installed shipway; `apt-get remove shipway` (or purge) removes it");
    let plan = Plan::new();
    let config = if plan.config.exists() { load(&plan)? } else { config::load(&Sources::default())?.config };
    let (state, run) = (config.state_dir.clone(), config.run_dir.clone());
    if plan.units.join(SERVICE).exists() {
        systemctl(&["disable", "--now", SERVICE, SOCKET])?;
    }
    crate::down::down(config).await?;
    let mut written = vec![plan.units.join(SERVICE), plan.units.join(SOCKET), plan.binary.clone()];
    written.push(plan.binary.with_file_name("shipway.previous"));
    for path in written {
        remove(&path)?;
    }
    systemctl(&["daemon-reload"])?;
    if purge {
        let configs = plan.config.parent().context("the configuration has no folder")?.to_owned();
        for folder in [state, run, configs] {
            remove_folder(&folder)?;
        }
    } else {
        say(&format!("kept {} and {}; --purge removes them too", state.display(), plan.config.display()));
    }
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    if remove_if_there(path).with_context(|| format!("cannot remove {}", path.display()))? {
        say(&format!("removed {}", path.display()));
    }
    Ok(())
}

fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => say(&format!("removed {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
    Ok(())
}

fn check_host(verb: &str) -> anyhow::Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "run `shipway {verb}` as root");
    let has_systemd = sd_notify::booted().unwrap_or(false);
    ensure!(
        has_systemd,
        "this host was not started by systemd; run `shipway serve` from whatever starts services here"
    );
    Ok(())
}

fn is_packaged() -> bool {
    Path::new("/lib/systemd/system").join(SERVICE).exists()
}

fn is_active(unit: &str) -> bool {
    Command::new("systemctl").args(["--quiet", "is-active", unit]).status().is_ok_and(|status| status.success())
}

fn systemctl(words: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("systemctl").args(words).status().context("cannot run systemctl")?;
    if !status.success() {
        bail!("`systemctl {}` failed; `journalctl -u shipway` says why", words.join(" "));
    }
    Ok(())
}

fn say(text: &str) {
    // Nobody may be there to read it.
    drop(writeln!(io::stderr(), "{text}"));
}
