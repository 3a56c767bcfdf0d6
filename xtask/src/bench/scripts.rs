//! `script`: requests to a script service through the proxy, sandboxed, against
//! nginx + fcgiwrap with the same script and no sandbox.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use shipway_testkit::wait_until;

use super::row::{Row, median};
use super::work::{Field, Nginx, load};

/// Seconds of one load.
const SECONDS: u32 = 3;

struct Work {
    name: &'static str,
    script: &'static str,
    /// Connections, and the bar there; `None` is reported only.
    points: [(usize, Option<f64>); 2],
}

const WORKS: [Work; 3] = [
    Work {
        name: "sh",
        script: "#!/bin/sh\necho 'Content-Type: text/plain'\necho\necho hello\n",
        points: [(1, Some(1.1)), (8, Some(0.95))],
    },
    Work {
        name: "python3",
        script: "#!/usr/bin/python3\nprint('Content-Type: text/plain\\n\\nhello')\n",
        points: [(1, None), (8, None)],
    },
    Work {
        name: "node",
        script: "#!/usr/bin/node\nconsole.log('Content-Type: text/plain\\n\\nhello')\n",
        points: [(1, None), (8, None)],
    },
];

pub(super) fn script(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let field = Field::new()?;
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for work in WORKS {
        field.deploy(work.name, work.script, "--script")?;
        let path = folder.path().join(work.name);
        shipway_stdx::fs::write_atomic(&path, work.script.as_bytes(), 0o755, shipway_stdx::fs::Durability::Process)?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let peer = Peer::start(folder.path(), &path)?;
        for (connections, bar) in work.points {
            rows.push(compare(&field, &peer, &work, connections, bar, rounds)?);
        }
    }
    Ok(rows)
}

fn compare(
    field: &Field,
    peer: &Peer,
    work: &Work,
    connections: usize,
    bar: Option<f64>,
    rounds: usize,
) -> anyhow::Result<Row> {
    let host = format!("{}.localhost", work.name);
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let their_rate = load(peer.nginx.address, "peer", connections, SECONDS, None)?;
        let our_rate = load(field.platform.address(), &host, connections, SECONDS, None)?;
        theirs.push(their_rate);
        ours.push(our_rate);
        ratios.push(our_rate / their_rate);
    }
    let ratio = median(ratios);
    Ok(Row {
        bench: "script",
        work: format!("{} with {connections} connections, requests/s", work.name),
        peer: format!("nginx + fcgiwrap: {:.0}", median(theirs)),
        ours: format!("{:.0}", median(ours)),
        ratio: Some(ratio),
        bar: bar.map_or_else(|| "reported".to_owned(), |bar| format!("≥ {bar} ×")),
        held: bar.map(|bar| ratio >= bar),
    })
}

/// nginx in front of fcgiwrap.
struct Peer {
    nginx: Nginx,
    fcgiwrap: Child,
}

impl Peer {
    fn start(folder: &std::path::Path, script: &std::path::Path) -> anyhow::Result<Self> {
        let socket = folder.join("fcgiwrap.sock");
        drop(std::fs::remove_file(&socket));
        let fcgiwrap = Command::new("fcgiwrap")
            .args(["-c", "8", "-s", &format!("unix:{}", socket.display())])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("fcgiwrap is needed: apt-get install -y fcgiwrap")?;
        wait_until("fcgiwrap listens", Duration::from_secs(10), || socket.exists().then_some(()));
        let server = format!(
            "location / {{ fastcgi_pass unix:{}; fastcgi_param SCRIPT_FILENAME {}; fastcgi_param REQUEST_METHOD $request_method; \
             fastcgi_param QUERY_STRING $query_string; }}",
            socket.display(),
            script.display()
        );
        Ok(Self { nginx: Nginx::start(folder, "", &server)?, fcgiwrap })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The whole group: its children do not end with it.
        drop(Command::new("kill").args(["--", &format!("-{}", self.fcgiwrap.id())]).status());
        drop(self.fcgiwrap.wait());
    }
}
