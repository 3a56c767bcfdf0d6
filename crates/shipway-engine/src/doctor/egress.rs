//! What containers need to reach the internet, for which the egress crate answers.
//!
//! Only services that ask for egress need any of it, so nothing here is more than a
//! warning. The parts of the kernel are tried in a network namespace that ends with the
//! check; the host's own tables, routes and settings are read and never changed, also
//! beside a Shipway that runs.

use shipway_egress::{About, Config, Finding, Severity};

use super::{Check, DoctorConfig, Outcome};
use crate::home;

pub(super) const CHECKS: &[Check] = &[
    ("egress.kernel", |_| kernel()),
    ("egress.forwarding", |config| about(config, FORWARDING, |about| matches!(about, About::Settings))),
    ("egress.route", |config| about(config, ROUTE, |about| matches!(about, About::NoRoute { .. }))),
    ("egress.firewall", |config| {
        about(config, FIREWALL, |about| matches!(about, About::Chain { .. } | About::LegacyTables))
    }),
    ("egress.addresses", |config| about(config, ADDRESSES, |about| matches!(about, About::PoolClash))),
    ("egress.resolvers", |config| about(config, RESOLVERS, |about| matches!(about, About::NoUpstream))),
];

const FORWARDING: &str = "the host's network settings can be changed; forwarding is switched on link by link";
const ROUTE: &str = "there is a way out";
const FIREWALL: &str = "no chain of others drops what containers send or get back";
const ADDRESSES: &str = "there are addresses for containers that nothing else here uses";
const RESOLVERS: &str = "there is a resolver to ask for names";
/// Stands for an engine root that has no name yet. Its links are nobody's.
const NAMELESS: &str = "00000000";

fn kernel() -> Outcome {
    match shipway_egress::doctor::doctor() {
        Ok(findings) => verdict(&findings, "pairs of links, packet filter, address translation, limits: all there"),
        Err(error) => Outcome::warning(format!("could not be tried: {error}"), "run shipway as root"),
    }
}

fn about(config: &DoctorConfig, fine: &str, is_meant: fn(&About) -> bool) -> Outcome {
    let instance = home::instance_of(&config.engine_root);
    let is_named = instance.is_some();
    let outside = &config.outside;
    let survey = Config {
        instance: instance.unwrap_or_else(|| NAMELESS.to_owned()),
        pools: outside.pools.clone(),
        upstreams: outside.upstreams.clone(),
        accept_rule: outside.accept_rule,
        memory: std::path::PathBuf::new(),
    };
    let findings = match shipway_egress::survey(&survey) {
        Ok(findings) => findings,
        Err(error) => return Outcome::warning(format!("could not be looked at: {error}"), "run shipway as root"),
    };
    let mut meant: Vec<Finding> = findings.into_iter().filter(|finding| is_meant(&finding.about)).collect();
    if !is_named {
        meant.iter_mut().for_each(unnamed);
    }
    verdict(&meant, fine)
}

/// Commands that name links cannot be given before the links have a name.
fn unnamed(finding: &mut Finding) {
    if matches!(finding.about, About::Chain { .. }) {
        finding.remedy = "set network.accept_rule: true, and Shipway keeps an accept rule there itself; \
                          after its first start this names the commands instead"
            .to_owned();
    }
}

/// A sentence of the findings, their remedies a line each.
fn verdict(findings: &[Finding], fine: &str) -> Outcome {
    if findings.is_empty() {
        return Outcome::ok(fine);
    }
    let doubt = if findings.iter().any(|finding| finding.severity == Severity::Broken) { "" } else { "perhaps: " };
    let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
    let mut remedies: Vec<&str> = findings.iter().flat_map(|finding| finding.remedy.lines()).collect();
    remedies.dedup();
    Outcome::warning(format!("{doubt}{}", what.join("; ")), remedies.join("\n"))
}
