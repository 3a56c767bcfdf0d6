//! Another version takes over, and visitors notice nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use shipway_testkit::{http, wait_until};

use crate::visitors::Visitors;
use crate::world::{SOON, World, processes_with};

/// A platform whose binary is a file of its own, and other versions beside it.
struct Upgrading {
    world: World,
    folder: tempfile::TempDir,
}

impl Upgrading {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("shipway");
        fs::copy(env!("CARGO_BIN_EXE_shipway"), &binary).unwrap();
        Self { world: World::of(&binary, &[]), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another binary that does the same: what follows a program's end is not looked at.
    fn other_version(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::copy(env!("CARGO_BIN_EXE_shipway"), &path).unwrap();
        fs::File::options().append(true).open(&path).unwrap().write_all(name.as_bytes()).unwrap();
        path
    }

    /// A file that can be run and says something.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        fs::File::create(&path).unwrap().write_all(script.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn upgrade(&self, to: &Path) -> shipway_testkit::Output {
        let platform = &self.world.platform;
        let set = [
            format!("state_dir={}", platform.state_dir().display()),
            format!("run_dir={}", platform.run_dir().display()),
        ];
        let to = to.display().to_string();
        platform.cli(&["upgrade", "--to", &to, "--set", &set[0], "--set", &set[1]]).unwrap()
    }

    /// The file that the proxy which takes visitors was started from, by its content's length.
    fn proxies(&self) -> Vec<u64> {
        let run = self.world.platform.run_dir().display().to_string();
        let pids = processes_with(&format!("proxy --run-dir {run}"));
        pids.iter().filter_map(|pid| Some(fs::metadata(format!("/proc/{pid}/exe")).ok()?.len())).collect()
    }
}

#[test]
fn another_version_takes_over_and_back_and_nobody_is_dropped() {
    let upgrading = Upgrading::new();
    let world = &upgrading.world;
    world.script("steady", "#!/bin/sh\necho up\n");
    // Answers at once with more than is held back, and ends only when it is told to.
    world.script("slow", "#!/bin/sh\nhead -c 100000 /dev/zero\nuntil [ -e /tmp/go ]; do sleep 0.02; done\necho end\n");
    let container = world.ok(&["exec", "steady", "--", "hostname"]).stdout;
    let mut download = open(world, "slow");
    let crowd = Visitors::start(world, "steady", 3);

    let next = upgrading.other_version("next");
    let output = upgrading.upgrade(&next);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains(&format!("serves, from {}", upgrading.path("shipway").display())), "{output:?}");
    let length = fs::metadata(&next).unwrap().len();
    assert!(upgrading.proxies().contains(&length), "a proxy of the new version: {:?}", upgrading.proxies());
    assert_eq!(upgrading.proxies().len(), 2, "the one of before still has a visitor");
    crowd.wait_for_more(50);
    assert_eq!(world.ok(&["exec", "steady", "--", "hostname"]).stdout, container, "the container runs on");
    world.script("steady", "#!/bin/sh\necho again\n");
    assert_eq!(world.visit("steady"), "again\n");

    let output = upgrading.upgrade(&upgrading.path("shipway.previous"));
    assert_eq!(output.code, 0, "{output:?}");
    crowd.wait_for_more(50);
    assert_eq!(crowd.end().failures, [""; 0]);

    // The download has seen two proxies come.
    world.ok(&["exec", "slow", "--", "touch", "/tmp/go"]);
    let mut rest = Vec::new();
    download.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"end\n\r\n0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest[rest.len() - 40..]));
    wait_until("the proxies of before have finished", SOON, || (upgrading.proxies().len() == 1).then_some(()));
    assert_ne!(upgrading.proxies(), [length], "the first version's is the one that is left");
}

/// Asks, and reads the head of the answer.
fn open(world: &World, service: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(world.platform.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {service}.localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    reader
}

#[test]
fn what_cannot_follow_is_refused_or_taken_back() {
    let upgrading = Upgrading::new();
    let world = &upgrading.world;
    world.script("steady", "#!/bin/sh\necho up\n");
    let crowd = Visitors::start(world, "steady", 3);
    let facts: serde_json::Value = serde_json::from_str(&world.ok(&["facts"]).stdout).unwrap();
    let answering = |facts: &serde_json::Value| format!("#!/bin/sh\n[ \"$1\" = facts ] && echo '{facts}'\n");

    let mut old = facts.clone();
    old["schema"] = 0.into();
    let mut foreign = facts.clone();
    foreign["machine"] = "vax".into();
    let cases = [
        (upgrading.program("text", "dear diary"), "cannot be run on this machine"),
        (upgrading.program("empty", "#!/bin/sh\nexit 0\n"), "no Shipway"),
        (upgrading.program("old", &answering(&old)), "older than the state"),
        (upgrading.program("foreign", &answering(&foreign)), "built for vax"),
        // Says the right thing, and ends when it should serve.
        (upgrading.program("broken", &answering(&facts)), "serves again"),
    ];
    let before = fs::metadata(upgrading.path("shipway")).unwrap().len();
    for (file, words) in cases {
        let output = upgrading.upgrade(&file);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains(words), "{words}: {output:?}");
        assert_eq!(fs::metadata(upgrading.path("shipway")).unwrap().len(), before, "the file of before is in place");
        wait_until("shipway is ready", SOON, || {
            let answer = http::get(world.platform.address(), "localhost", "/readyz").ok()?;
            (answer.status == 200).then_some(())
        });
    }
    crowd.wait_for_more(20);
    assert_eq!(crowd.end().failures, [""; 0]);
    world.script("steady", "#!/bin/sh\necho again\n");
    assert_eq!(world.visit("steady"), "again\n");
}
