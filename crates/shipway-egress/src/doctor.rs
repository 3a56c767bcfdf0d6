//! Whether this kernel can do what egress needs: tried, not guessed.
//!
//! Everything is made once for real, in a network namespace that nobody has and that
//! ends with the attempt, so the host is not touched. Modules that are not loaded yet
//! load themselves that way, as they would later.

use std::io;

use crate::addresses::Plan;
use crate::finding::{About, Finding, Severity};
use crate::links::Links;
use crate::netns;
use crate::policy::{Block, Policy};
use crate::table::{Part, Table};

/// Looks for parts of the kernel that are missing.
///
/// # Errors
///
/// That no network namespace could be made (`EPERM` without the privilege).
pub fn doctor() -> io::Result<Vec<Finding>> {
    let other = netns::of_a_new_one()?;
    netns::within_a_new_one(move || {
        let pool: Block = "10.201.0.0/16".parse().map_err(io::Error::other)?;
        let plan = Plan::new("doctordoctor", pool);
        let mut findings = Vec::new();
        let far = std::os::fd::AsFd::as_fd(&other);
        if Links::open()?.make_pair(&plan, 0, 1500, far).is_err() {
            findings.push(missing("veth", "pairs of links", "CONFIG_VETH"));
        }
        let mut table = Table::open(plan.clone())?;
        if table.try_part(Part::Table).is_err() {
            findings.push(missing("nf_tables", "the packet filter", "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"));
            return Ok(findings);
        }
        findings.extend(lacks(&mut table, PARTS));
        if crate::conntrack::forget(&mut table.socket, plan.router()).is_err() {
            let mut finding = missing("nf_conntrack_netlink", "forgetting connections", "CONFIG_NF_CT_NETLINK");
            finding.severity = Severity::Doubtful;
            findings.push(finding);
        }
        // The whole of it, should a part not listed above be the one.
        let policy = Policy { bytes_per_second: std::num::NonZeroU64::new(1 << 20), ..Policy::default() };
        if findings.is_empty() && table.ensure().and_then(|_| table.add(0, &policy)).is_err() {
            findings.push(missing("nf_tables", "some expression of the packet filter", "CONFIG_NF_TABLES"));
        }
        Ok(findings)
    })
}

/// Those of the parts that this kernel does not have.
fn lacks(table: &mut Table, parts: &[Row]) -> Vec<Finding> {
    let absent = parts.iter().filter(|(part, ..)| table.try_part(*part).is_err());
    absent.map(|(_, name, what, option)| missing(name, what, option)).collect()
}

/// Part, its name, what it is for, how a kernel gets it.
type Row = (Part, &'static str, &'static str, &'static str);

const PARTS: &[Row] = &[
    (Part::Masquerade, "nft_masq", "address translation", "CONFIG_NFT_MASQ and CONFIG_NF_NAT"),
    (Part::Connections, "nft_connlimit", "the limit on connections", "CONFIG_NFT_CONNLIMIT"),
    (Part::Limit, "nft_limit", "the limit on bandwidth", "CONFIG_NFT_LIMIT"),
    (Part::Local, "nft_fib_inet", "telling the host's own addresses", "CONFIG_NFT_FIB_INET"),
    (Part::Reject, "nft_reject_inet", "refusing", "CONFIG_NFT_REJECT_INET"),
    (Part::State, "nft_ct", "the state of connections", "CONFIG_NFT_CT and CONFIG_NF_CONNTRACK"),
];

fn missing(part: &'static str, what: &str, option: &str) -> Finding {
    Finding {
        about: About::Kernel { part },
        severity: Severity::Broken,
        what: format!("the kernel has no {part} ({what}), which containers with internet access need"),
        remedy: format!("load it (modprobe {part}), or run a kernel with {option}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_has_not_is_told_by_its_name_and_nothing_else_is() {
        let found = netns::within_a_new_one(|| {
            let pool: Block = "10.201.0.0/16".parse().map_err(io::Error::other)?;
            let mut table = Table::open(Plan::new("doctordoctor", pool))?;
            let row: Row = (Part::UnheardOf, "nft_unheard", "something unheard of", "CONFIG_NFT_UNHEARD");
            Ok(lacks(&mut table, &[PARTS, &[row]].concat()))
        });
        let found = found.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].about, About::Kernel { part: "nft_unheard" });
        assert!(found[0].remedy.contains("modprobe nft_unheard") && found[0].remedy.contains("CONFIG_NFT_UNHEARD"));
    }
}
