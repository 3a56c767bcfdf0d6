//! Other people's firewalls, read and never changed.
//!
//! Docker and ufw both set the default of forwarded packets to *drop*. A container
//! with egress is then cut off by a rule that is not ours; the operator should read
//! that here and not find out by packet dump.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Check, Outcome};
use crate::host_image::run::run;

pub(super) const CHECKS: &[Check] =
    &[("firewall.forwarding", |_| forwarding()), ("firewall.ufw", |_| ufw()), ("firewall.docker", |_| docker())];

/// A host with ten thousand rules answers in a second.
const LIST_MAX: Duration = Duration::from_secs(5);
/// Chains without their rules: a hundred bytes each.
const LIST_BYTES: u64 = 1 << 20;

fn forwarding() -> Outcome {
    let Some(nft) = ["/usr/sbin/nft", "/sbin/nft"].into_iter().find(|nft| Path::new(nft).exists()) else {
        return without_nft();
    };
    let mut command = Command::new(nft);
    command.args(["-j", "list", "chains"]);
    let listed = match run(command, LIST_MAX) {
        Ok(mut ended) if ended.status.is_some_and(|status| status.success()) => ended.head(LIST_BYTES),
        _ => return Outcome::warning("the rules could not be listed", "nft list chains"),
    };
    let dropping = dropping_chains(&listed);
    if dropping.is_empty() {
        return Outcome::ok("no chain drops forwarded packets by default");
    }
    Outcome::warning(
        format!("forwarded packets are dropped by default in {}", dropping.join(", ")),
        "containers with egress need an accept rule there: set network.accept_rule: true, \
         or add one yourself",
    )
}

/// Without nft only the old tables can be asked, and only whether there are any.
fn without_nft() -> Outcome {
    let old = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    match old.lines().any(|table| table == "filter") {
        true => Outcome::warning(
            "old iptables rules are loaded and may drop forwarded packets",
            "iptables -S FORWARD shows them; apt-get install -y nftables lets doctor see more",
        ),
        false => Outcome::ok("no rules of the old iptables are loaded; nft is not installed"),
    }
}

/// Base chains of the forward hook whose policy is drop, as `family table chain`.
pub(super) fn dropping_chains(json: &str) -> Vec<String> {
    let listed: Value = serde_json::from_str(json).unwrap_or_default();
    let objects = listed["nftables"].as_array().cloned().unwrap_or_default();
    objects
        .iter()
        .map(|object| &object["chain"])
        .filter(|chain| chain["hook"] == "forward" && chain["policy"] == "drop")
        .map(|chain| {
            let word = |name: &str| chain[name].as_str().unwrap_or("?").to_owned();
            format!("{} {} {}", word("family"), word("table"), word("name"))
        })
        .collect()
}

fn ufw() -> Outcome {
    let config = std::fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    match config.lines().any(|line| line.trim() == "ENABLED=yes") {
        true => Outcome::warning(
            "ufw is on: it drops forwarded packets unless told otherwise",
            "containers with egress need: ufw route allow in on shipway+",
        ),
        false => Outcome::ok("ufw is not on"),
    }
}

fn docker() -> Outcome {
    match Path::new("/sys/class/net/docker0").exists() {
        true => Outcome::warning(
            "Docker's bridge is up: Docker drops forwarded packets that are not its own",
            "see firewall.forwarding; the DOCKER-USER chain is the place for an accept rule",
        ),
        false => Outcome::ok("no bridge of Docker's"),
    }
}
