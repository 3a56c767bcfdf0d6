//! A host, an internet and containers, each a network namespace.
//!
//! The test's own thread *is* the host: it moves into a new namespace before anything
//! else, so neither the code under test nor a mistake in it can touch the machine. The
//! internet is one more namespace that has every address there is to reach on its
//! loopback, private ones and metadata services among them: but for our rules, all of
//! them can be reached, and [`World::new`] makes sure of that.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use shipway_egress::{Attached, Config, Egress, Living, Policy, Seen, Slot, Upstreams};
use tokio::runtime::Runtime;

/// Long enough for a loaded machine, and never waited for where all is well.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// Where servers listen.
pub(crate) const PORT: u16 = 7000;
/// The host's own addresses, as the internet sees it.
pub(crate) const HOST: [&str; 2] = ["11.0.0.2", "2600:1::2"];
/// Addresses that stand for the public internet.
pub(crate) const PUBLIC: [&str; 2] = ["12.1.1.1", "2600:2::1"];
/// A resolver of the internet.
pub(crate) const RESOLVER: &str = "12.5.3.5";
/// What nobody should reach, and under which counter it goes.
pub(crate) const FORBIDDEN: [(&str, &str); 12] = [
    ("10.66.0.5", "special"),
    ("172.20.0.5", "special"),
    ("192.168.77.1", "special"),
    ("100.64.1.1", "special"),
    ("169.254.1.1", "special"),
    ("198.18.0.1", "special"),
    ("203.0.113.7", "special"),
    ("fd66::5", "special"),
    ("2001:db8::5", "special"),
    ("169.254.169.254", "metadata"),
    ("100.100.100.200", "metadata"),
    ("fd00:ec2::254", "metadata"),
];

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Net(pub(crate) File);

impl Net {
    /// A new one, with its loopback up.
    pub(crate) fn new() -> Self {
        let file = std::thread::spawn(|| {
            unshare();
            sh("ip link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self(file.join().unwrap())
    }

    /// Runs something in it, on a thread that ends.
    pub(crate) fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(self.0.as_fd(), kind).unwrap();
                what()
            });
            inside.join().unwrap()
        })
    }

    /// Runs a command in it.
    pub(crate) fn sh(&self, line: &str) -> String {
        self.run(|| sh(line))
    }
}

fn unshare() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
}

/// Runs a command of words without blanks in the calling thread's namespace; it has to succeed.
#[track_caller]
pub(crate) fn sh(line: &str) -> String {
    let (out, fine) = try_sh(line);
    assert!(fine, "{line}: {out}");
    out
}

/// The same, and says whether it succeeded.
pub(crate) fn try_sh(line: &str) -> (String, bool) {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.success())
}

/// Feeds rules to `nft` in the calling thread's namespace.
pub(crate) fn nft(rules: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules");
    File::create(&path).unwrap().write_all(rules.as_bytes()).unwrap();
    sh(&format!("nft -f {}", path.display()));
}

/// The host, its internet and the code under test.
pub(crate) struct World {
    pub(crate) internet: Net,
    pub(crate) runtime: Runtime,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) egress: Option<Egress>,
    forwarder: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

/// A container.
pub(crate) struct Container {
    pub(crate) net: Net,
    pub(crate) slot: Slot,
    pub(crate) attached: Attached,
}

pub(crate) const INSTANCE: &str = "0123456789ab";

impl World {
    /// A world with egress open in it.
    pub(crate) fn new() -> Self {
        let mut world = Self::bare();
        world.open();
        world
    }

    /// A world in which nothing of ours has happened yet.
    pub(crate) fn bare() -> Self {
        unshare();
        let internet = Net::new();
        // New namespaces inherit the machine's settings for IPv4: begin from a plain host.
        set("ipv4/ip_forward", "0");
        connect_internet(&internet);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let world = Self { internet, runtime, folder, egress: None, forwarder: None };
        world.serve_everywhere();
        world.everything_is_reached_by_the_host();
        world
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            instance: INSTANCE.to_owned(),
            pools: Vec::new(),
            upstreams: Upstreams::Given(vec![SocketAddr::new(RESOLVER.parse().unwrap(), 53)]),
            accept_rule: false,
            memory: self.memory(),
        }
    }

    pub(crate) fn memory(&self) -> PathBuf {
        self.folder.path().join("network.json")
    }

    pub(crate) fn open(&mut self) {
        self.open_with(self.config());
    }

    pub(crate) fn open_with(&mut self, config: Config) {
        let (egress, forwarder) = Egress::open(config).unwrap();
        self.egress = Some(egress);
        self.forwarder = Some(self.runtime.spawn(forwarder.run()));
    }

    /// As a crash would: everything in memory is gone, nothing is taken back.
    pub(crate) fn crash(&mut self) {
        self.egress = None;
        if let Some(forwarder) = self.forwarder.take() {
            forwarder.abort();
            drop(self.runtime.block_on(forwarder));
        }
    }

    pub(crate) fn egress(&self) -> &Egress {
        self.egress.as_ref().unwrap()
    }

    pub(crate) fn container(&self, slot: Slot, policy: &Policy) -> Container {
        let net = Net::new();
        let attached = self.egress().attach(slot, net.0.as_fd(), policy).unwrap();
        Container { net, slot, attached }
    }

    pub(crate) fn seen(&self, container: &Container) -> Seen {
        self.egress().seen(container.slot).unwrap()
    }

    /// Serves on sockets bound in `net`: TCP says who called and echoes, UDP echoes.
    pub(crate) fn serve(&self, net: Option<&Net>, address: SocketAddr) {
        let bind = move || (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
        let (tcp, udp) = net.map_or_else(bind, |net| net.run(bind));
        serve_tcp(&self.runtime, tcp);
        serve_udp(&self.runtime, udp);
    }

    fn serve_everywhere(&self) {
        // Each address by itself: a datagram must come back from where it was sent to.
        for address in PUBLIC.iter().chain(FORBIDDEN.iter().map(|(address, _)| address)) {
            self.serve(Some(&self.internet), socket(address, PORT));
        }
        for address in HOST {
            self.serve(None, socket(address, PORT));
        }
    }

    /// Or a refusal would prove nothing.
    fn everything_is_reached_by_the_host(&self) {
        for address in PUBLIC.iter().chain(FORBIDDEN.iter().map(|(address, _)| address)) {
            assert!(tcp(None, socket(address, PORT)).is_ok(), "{address}");
        }
    }
}

fn connect_internet(internet: &Net) {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&internet.0);
    // Other numbers on both ends: else the kernel takes a second to notice the link.
    ip(&format!(
        "link set lo up
        link add up0 index 10 type veth peer index 20 name down0 netns /proc/{}/fd/{fd}
        addr add 11.0.0.2/24 dev up0
        addr add 2600:1::2/64 dev up0 nodad
        link set up0 up
        route add default via 11.0.0.1
        route add default via 2600:1::1",
        std::process::id()
    ));
    let mut there = "addr add 11.0.0.1/24 dev down0
        addr add 2600:1::1/64 dev down0 nodad
        link set down0 up"
        .to_owned();
    for address in PUBLIC.iter().chain(&[RESOLVER]).chain(FORBIDDEN.iter().map(|(address, _)| address)) {
        let bits = if address.contains(':') { "128 nodad" } else { "32" };
        let (bits, how) = bits.split_once(' ').unwrap_or((bits, ""));
        there += &format!("\naddr add {address}/{bits} dev lo {how}");
    }
    internet.run(|| ip(&there));
    wait_until("the link to the internet", || tcp_connects("11.0.0.1"));
}

/// Runs many commands of `ip` at once, a line each.
pub(crate) fn ip(lines: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    sh(&format!("ip -batch {}", file.path().display()));
}

/// Whether the far side answers at all: a refusal is an answer.
fn tcp_connects(address: &str) -> bool {
    match TcpStream::connect_timeout(&socket(address, 1), Duration::from_millis(500)) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

fn serve_tcp(runtime: &Runtime, listener: TcpListener) {
    use tokio::io::AsyncWriteExt as _;
    listener.set_nonblocking(true).unwrap();
    let _context = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    runtime.spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            tokio::spawn(async move {
                let hello = format!("{}\n", from.ip().to_canonical());
                if stream.write_all(hello.as_bytes()).await.is_ok() {
                    let (mut read, mut write) = stream.split();
                    drop(tokio::io::copy(&mut read, &mut write).await);
                }
            });
        }
    });
}

fn serve_udp(runtime: &Runtime, socket: UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    let _context = runtime.enter();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    runtime.spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            drop(socket.send_to(&buffer[..length], from).await);
        }
    });
}

pub(crate) fn socket(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// Connects and returns who the server said had called.
pub(crate) fn tcp(from: Option<&Net>, to: SocketAddr) -> io::Result<IpAddr> {
    let call = move || {
        let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut hello = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
            hello.push(byte[0]);
        }
        String::from_utf8_lossy(&hello).parse().map_err(io::Error::other)
    };
    from.map_or_else(call, |net| net.run(call))
}

/// Whether a connection gets no answer, not even a refusal: somebody drops it.
pub(crate) fn is_cut_off(from: &Net, address: &str) -> bool {
    let short = Duration::from_millis(400);
    from.run(|| TcpStream::connect_timeout(&socket(address, PORT), short)).is_err()
}

/// Sends a datagram and waits for it to come back; `wait` is the longest.
pub(crate) fn udp(from: Option<&Net>, bind: Option<IpAddr>, to: SocketAddr, wait: Duration) -> io::Result<()> {
    let call = move || {
        let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
        let socket = UdpSocket::bind((bind.unwrap_or_else(|| any.parse().unwrap()), 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(wait))?;
        socket.send(b"ping")?;
        let mut buffer = [0; 16];
        let length = socket.recv(&mut buffer)?;
        assert_eq!(&buffer[..length], b"ping");
        Ok(())
    };
    from.map_or_else(call, |net| net.run(call))
}

/// Changes a setting of the calling thread's namespace.
pub(crate) fn set(setting: &str, value: &str) {
    let path = Path::new("/proc/sys/net").join(setting);
    File::options().write(true).open(path).unwrap().write_all(value.as_bytes()).unwrap();
}

pub(crate) fn get(setting: &str) -> String {
    std::fs::read_to_string(Path::new("/proc/sys/net").join(setting)).unwrap().trim().to_owned()
}

/// Asks again and again, without a pause of its own: the condition does real work.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The living, as the engine would say.
pub(crate) fn living<'a>(containers: &'a [&'a Container], policy: &'a Policy) -> Vec<Living<'a>> {
    containers
        .iter()
        .map(|container| Living { slot: container.slot, namespace: container.net.0.as_fd(), policy })
        .collect()
}
