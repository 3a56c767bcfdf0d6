//! Network namespaces: hosts that are nobody's, and the internet behind each.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use shipway_testkit::wait_until;

use crate::sh;

/// Longest that a program takes to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A network namespace, which is gone with its last process.
pub(super) struct Net(File);

impl Net {
    /// One with nothing but a loopback.
    pub(super) fn new() -> anyhow::Result<Self> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace; are you root?")?;
            commands("ip link set lo up")?;
            Ok(Self(File::open("/proc/thread-self/ns/net")?))
        });
        made.join().map_err(|_| anyhow!("a thread panicked"))?
    }

    /// Does something in it, on a thread that ends; processes started there stay in it.
    pub(super) fn run<T: Send>(&self, what: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
                what()
            });
            inside.join().map_err(|_| anyhow!("a thread panicked"))?
        })
    }

    /// As `ip` takes it.
    fn name(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// A host with an internet, in which the bench's program serves.
pub(super) struct Host {
    pub(super) net: Net,
    server: Child,
}

impl Host {
    pub(super) fn new(program: &Path) -> anyhow::Result<Self> {
        let (net, internet) = (Net::new()?, Net::new()?);
        let there = internet.name();
        // Other numbers on both ends: else the kernel takes a second to notice the link.
        net.run(|| {
            commands(&format!(
                "sysctl -q -w net.ipv4.ip_forward=0
                 ip link add up0 index 10 type veth peer index 20 name down0 netns {there}
                 ip addr add 11.0.0.2/24 dev up0
                 ip link set up0 up"
            ))
        })?;
        let server = internet.run(|| {
            commands(
                "ip addr add 11.0.0.1/24 dev down0
                 ip link set down0 up
                 ip addr add 12.1.1.1/32 dev lo",
            )?;
            let mut command = Command::new(program);
            command.args(["serve", "9000"]).stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().context("cannot run the program")
        })?;
        let host = Self { net, server };
        host.net.run(|| {
            commands("ip route add default via 11.0.0.1")?;
            wait_until("the internet answers", PATIENCE, || std::net::TcpStream::connect(super::TARGET).ok());
            Ok(())
        })?;
        Ok(host)
    }

    /// Connects a namespace by a pair of links and the least that lets it out.
    pub(super) fn translate_for(&self, inside: &Net) -> anyhow::Result<()> {
        let there = inside.name();
        self.net.run(|| {
            commands(&format!(
                "sysctl -q -w net.ipv4.ip_forward=1
                 ip link add in0 index 30 type veth peer index 40 name eth0 netns {there}
                 ip addr add 10.0.0.1/24 dev in0
                 ip link set in0 up
                 nft add table ip bare
                 nft add chain ip bare out {{type nat hook postrouting priority 100;}}
                 nft add rule ip bare out oifname up0 masquerade"
            ))
        })?;
        inside.run(|| {
            commands(
                "ip addr add 10.0.0.2/24 dev eth0
                 ip link set eth0 up
                 ip route add default via 10.0.0.1",
            )?;
            wait_until("the internet answers", PATIENCE, || std::net::TcpStream::connect(super::TARGET).ok());
            Ok(())
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Runs commands of words without blanks, a line each.
fn commands(lines: &str) -> anyhow::Result<()> {
    for line in lines.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        sh::run(words[0], &words[1..])?;
    }
    Ok(())
}
