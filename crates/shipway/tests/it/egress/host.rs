//! A host and an internet, each a network namespace.
//!
//! The story's thread *is* the host: it moves into a new namespace before anything
//! else, and `shipway serve` and its containers are born there, so the machine's own
//! network is never touched. The internet has every address there is to reach on its
//! loopback, private ones and a metadata service among them: but for Shipway's rules
//! all of them answer, which is looked at first.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use super::names;

/// Where servers of the internet greet.
pub(super) const PORT: u16 = 7000;
/// Where they send as fast as they are read.
pub(super) const FLOOD_PORT: u16 = 7001;
/// Bytes of one flood.
pub(super) const FLOOD_BYTES: usize = 16 << 20;
/// The host's own addresses, as the internet sees it.
pub(super) const HOST: [&str; 2] = ["11.0.0.2", "2600:1::2"];
/// Addresses that stand for the public internet.
pub(super) const PUBLIC: [&str; 2] = ["12.1.1.1", "2600:2::1"];
/// A resolver of the internet.
pub(super) const RESOLVER: &str = "12.5.3.5";
/// What nobody should reach, and under which counter it goes.
pub(super) const FORBIDDEN: [(&str, &str); 8] = [
    ("10.66.0.5", "refused_special"),
    ("172.20.0.5", "refused_special"),
    ("192.168.77.1", "refused_special"),
    ("100.64.1.1", "refused_special"),
    ("169.254.1.1", "refused_special"),
    ("fd66::5", "refused_special"),
    ("169.254.169.254", "refused_metadata"),
    ("fd00:ec2::254", "refused_metadata"),
];
/// Private ones that the operator opens: every port of the one, one port of the other.
pub(super) const ALLOWED: [&str; 2] = ["10.77.0.5", "192.168.78.1"];
/// Longer than a loaded machine needs to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The host that this thread has become, and its internet, which ends with it.
pub(super) struct Host {
    _internet: Sender<()>,
    /// Whether `rebind.test` leads inside by now.
    pub(super) rebound: Arc<AtomicBool>,
}

impl Host {
    pub(super) fn become_one() -> Self {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        sh("ip link set lo up");
        // A new namespace inherits the machine's settings for IPv4: begin from a plain host.
        sh("sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
        let rebound = Arc::new(AtomicBool::new(false));
        let host = Self { _internet: internet(Arc::clone(&rebound)), rebound };
        for line in [
            "ip addr add 11.0.0.2/24 dev up0",
            "ip addr add 2600:1::2/64 dev up0 nodad",
            "ip link set up0 up",
            "ip route add default via 11.0.0.1",
            "ip route add default via 2600:1::1",
        ] {
            sh(line);
        }
        // A listener of the host's own, at every address.
        let own = TcpListener::bind(("::", PORT)).unwrap();
        std::thread::spawn(move || greet(&own));
        for address in outside().chain(HOST) {
            shipway_testkit::wait_until(&format!("{address} answers the host"), LIMIT, || called(address).ok());
        }
        host
    }
}

/// Every address of the internet that greets.
fn outside() -> impl Iterator<Item = &'static str> {
    PUBLIC.into_iter().chain(FORBIDDEN.map(|(address, _)| address)).chain(ALLOWED)
}

/// Makes the other namespace. Its thread ends when what is returned is dropped.
fn internet(rebound: Arc<AtomicBool>) -> Sender<()> {
    let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), rustix::thread::gettid().as_raw_nonzero());
    let (ready, is_ready) = mpsc::channel();
    let (stay, leave) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        sh("ip link set lo up");
        // Other numbers on both ends: else the kernel takes a second to notice the link.
        sh(&format!("ip link add down0 index 20 type veth peer index 10 name up0 netns {own}"));
        sh("ip addr add 11.0.0.1/24 dev down0");
        sh("ip addr add 2600:1::1/64 dev down0 nodad");
        sh("ip link set down0 up");
        for address in outside().chain([RESOLVER]) {
            serve(address.parse().unwrap());
        }
        let names = UdpSocket::bind((RESOLVER, 53)).unwrap();
        std::thread::spawn(move || names::answer(&names, &rebound));
        ready.send(()).unwrap();
        // Ends with the story: an error is its sender's end.
        assert!(leave.recv().is_err(), "nobody sends");
    });
    is_ready.recv().unwrap();
    stay
}

fn serve(address: IpAddr) {
    sh(&match address {
        IpAddr::V4(address) => format!("ip addr add {address}/32 dev lo"),
        IpAddr::V6(address) => format!("ip addr add {address}/128 dev lo nodad"),
    });
    let greeter = TcpListener::bind((address, PORT)).unwrap();
    std::thread::spawn(move || greet(&greeter));
    let flooder = TcpListener::bind((address, FLOOD_PORT)).unwrap();
    std::thread::spawn(move || {
        for mut stream in flooder.incoming().flatten() {
            std::thread::spawn(move || drop(stream.write_all(&vec![7; FLOOD_BYTES])));
        }
    });
}

/// Says who called, and keeps the connection until the caller hangs up.
fn greet(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // Who hangs up before the greeting is gone.
            let Ok(caller) = stream.peer_addr() else { return };
            drop(writeln!(stream, "hello {}", caller.ip().to_canonical()));
            drop(io::copy(&mut stream, &mut io::sink()));
        });
    }
}

/// Calls from the host, and returns the first byte of the greeting.
fn called(address: &str) -> io::Result<u8> {
    let address = SocketAddr::new(address.parse().map_err(io::Error::other)?, PORT);
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut byte = [0];
    stream.read_exact(&mut byte).map(|()| byte[0])
}

/// Runs a command of words without blanks in the calling thread's namespace; it has to succeed.
#[track_caller]
pub(super) fn sh(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What `nft` and `ip` say of this host, but for what the kernel counts.
pub(super) fn traces() -> String {
    let all = sh("nft -s list ruleset")
        + &sh("ip -br link")
        + &sh("ip route show table all")
        + &sh("ip -6 route show table all")
        + &sh("sysctl net.ipv4.ip_forward net.ipv4.conf.up0.forwarding net.ipv6.conf.all.forwarding");
    // The kernel makes link-local things itself, in its own time.
    all.lines().filter(|line| !line.contains("fe80") && !line.contains("ff00")).collect::<Vec<_>>().join("\n")
}
