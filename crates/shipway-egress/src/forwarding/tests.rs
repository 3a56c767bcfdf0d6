//! Both ways of letting packets through, in namespaces of their own.

use super::*;
use crate::links::Links;
use crate::netns;

/// Runs a test in a namespace with two links, as plain as a host can be.
fn on_a_host(what: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().unwrap();
    let ends = [netns::of_a_new_one().unwrap(), netns::of_a_new_one().unwrap()];
    netns::within_a_new_one(|| {
        // New namespaces inherit the machine's settings for IPv4.
        write("ipv4/ip_forward", "0")?;
        let mut links = Links::open()?;
        let plan = crate::addresses::Plan::new("0123456789ab", "10.201.0.0/16".parse().unwrap());
        for (slot, end) in (1..).zip(&ends) {
            links.make_pair(&plan, slot, 1500, std::os::fd::AsFd::as_fd(end)).unwrap();
        }
        what(&folder.path().join("memory.json"));
        Ok(())
    })
    .unwrap();
}

const ONE: &str = "sw01234567-1";
const TWO: &str = "sw01234567-2";

fn only(link: &str) -> BTreeSet<String> {
    BTreeSet::from([link.to_owned()])
}

fn v6(link: &str, setting: &str) -> String {
    read(&format!("ipv6/conf/{link}/{setting}")).unwrap()
}

#[test]
fn an_older_kernel_becomes_a_router_and_goes_on_listening_to_advertisements() {
    on_a_host(|file| {
        write(&format!("ipv6/conf/{TWO}/accept_ra"), "0").unwrap();
        write(&format!("ipv6/conf/{TWO}/forwarding"), "1").unwrap();
        let forwarding = Forwarding::with_way(file, Way::Host);
        forwarding.open(&only(ONE), &only(ONE)).unwrap();
        assert_eq!(
            (v6("all", "forwarding"), v6(ONE, "forwarding"), v6(ONE, "accept_ra")),
            ("1".into(), "1".into(), "2".into())
        );
        assert_eq!(v6(TWO, "accept_ra"), "0", "one that did not listen does not now");
        let opened = forwarding.opened().unwrap();
        assert_eq!((opened.v4, opened.v6), (vec![ONE.to_owned()], vec![ONE.to_owned()]));
        // Found again by a successor, which changes nothing more.
        let before = std::fs::read(file).unwrap();
        let successor = Forwarding::with_way(file, Way::Host);
        successor.open(&only(ONE), &only(ONE)).unwrap();
        assert_eq!(std::fs::read(file).unwrap(), before);
        successor.undo().unwrap();
        assert_eq!(
            (v6("all", "forwarding"), v6(ONE, "forwarding"), v6(ONE, "accept_ra")),
            ("0".into(), "0".into(), "1".into())
        );
        assert_eq!(v6(TWO, "forwarding"), "1", "a router before is one after");
        assert_eq!(read(&format!("ipv4/conf/{ONE}/forwarding")).unwrap(), "0");
        assert!(!file.exists());
    });
}

#[test]
fn what_somebody_changed_since_is_left_to_them() {
    on_a_host(|file| {
        let forwarding = Forwarding::new(file);
        forwarding.open(&only(ONE), &BTreeSet::new()).unwrap();
        // A router now, by somebody else's will.
        write("ipv4/ip_forward", "1").unwrap();
        assert_eq!(forwarding.opened().unwrap(), Opened::default());
        write(&format!("ipv4/conf/{ONE}/forwarding"), "0").unwrap();
        forwarding.undo().unwrap();
        assert_eq!(read("ipv4/ip_forward").unwrap(), "1");
        assert_eq!(read(&format!("ipv4/conf/{ONE}/forwarding")).unwrap(), "0");
    });
}

#[test]
fn a_memory_of_another_boot_is_void_and_a_link_that_left_is_no_trouble() {
    on_a_host(|file| {
        let text = format!(
            r#"{{"boot":"another","changes":[{{"setting":"ipv4/conf/{ONE}/forwarding","was":"1","is":"0"}}],"routers":[],"opened":[]}}"#
        );
        write_atomic(file, text.as_bytes(), 0o600, Durability::Process).unwrap();
        let forwarding = Forwarding::new(file);
        forwarding.open(&only("gone0"), &only("gone0")).unwrap();
        forwarding.undo().unwrap();
        assert_eq!(read(&format!("ipv4/conf/{ONE}/forwarding")).unwrap(), "0");
    });
}
