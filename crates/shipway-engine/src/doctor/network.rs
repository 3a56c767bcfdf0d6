//! What containers will need to reach the world: veth pairs, nftables, tun.
//!
//! Tried in a network namespace that ends with the check, so no interface and no
//! table ever appears on the host. The kernel may load a module of its own for it.

use std::io;
use std::path::Path;

use rustix::thread::UnshareFlags;

use super::netlink::{ASK, ask, attribute};
use super::probe::enter_own;
use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] =
    &[("network.veth", |_| veth()), ("network.nftables", |_| nftables()), ("network.tun", |_| tun())];

/// `RTM_NEWLINK`.
const NEW_LINK: u16 = 16;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const CREATE: u16 = 0x400 | 0x200;
/// `IFLA_LINKINFO` and, inside it, `IFLA_INFO_KIND`.
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`.
const GET_GENERATION: u16 = (10 << 8) | 16;

fn veth() -> Outcome {
    let try_it = || {
        enter_own(UnshareFlags::NEWNET)?;
        // An empty ifinfomsg: the kernel chooses both names.
        let mut body = vec![0; 16];
        body.extend(attribute(LINK_INFO, &attribute(INFO_KIND, b"veth\0")));
        ask(None, NEW_LINK, ASK | CREATE, &body)
    };
    verdict(try_it(), "pairs of interfaces (veth)", "modprobe veth")
}

fn nftables() -> Outcome {
    let try_it = || {
        enter_own(UnshareFlags::NEWNET)?;
        // An empty nfgenmsg: which generation of the rules is this?
        ask(Some(rustix::net::netlink::NETFILTER), GET_GENERATION, ASK, &[0; 4])
    };
    verdict(try_it(), "packet filtering (nftables)", "modprobe nf_tables")
}

fn verdict(result: io::Result<()>, what: &str, remedy: &str) -> Outcome {
    match result {
        Ok(()) => Outcome::ok(format!("{what}: there")),
        Err(error) => Outcome::warning(
            format!("{what}: not there ({error}); containers cannot be given egress"),
            format!("{remedy}, or boot a kernel that has it"),
        ),
    }
}

fn tun() -> Outcome {
    match std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Outcome::ok("/dev/net/tun can be opened"),
        Err(error) => Outcome::new(
            super::Status::Warning,
            format!("/dev/net/tun cannot be opened: {error}"),
            Some(match Path::new("/dev/net/tun").exists() {
                true => "run shipway as root".to_owned(),
                false => "modprobe tun; only rootless containers need it".to_owned(),
            }),
        ),
    }
}
