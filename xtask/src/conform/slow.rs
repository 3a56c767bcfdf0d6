//! `slowhttptest` in its four modes: 500 connections at a time that are as slow as they
//! can, and a service that answers everybody else.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{Field, folder};
use crate::sh::tell;

/// One mode: its options, and the path it asks for.
const MODES: [(&str, &[&str], &str); 4] = [
    ("slow heads", &["-H", "-i", "3"], "/"),
    ("slow bodies", &["-B", "-i", "3", "-s", "8192", "-t", "POST"], "/"),
    ("ranges", &["-R"], "/"),
    ("slow readers", &["-X", "-n", "1", "-w", "512", "-y", "1024", "-z", "32", "-k", "3"], "/"),
];

/// Bytes of the service's answer: more than sockets hold for a slow reader.
const ANSWER_BYTES: usize = 8 << 20;

pub(super) fn slow(field: &Field) -> anyhow::Result<()> {
    let url = field.files.put("/large.txt", &"x".repeat(ANSWER_BYTES));
    field.ok(&["deploy", &url, "--static", "--name", "slow"])?;
    // The program knows no `Host` but its URL's, so it gets a hosts file of its own.
    let hosts = folder()?.join("hosts");
    let text = b"127.0.0.1 localhost slow.localhost\n";
    shipway_stdx::fs::write_atomic(&hosts, text, 0o644, shipway_stdx::fs::Durability::Process)?;
    for (name, options, path) in MODES {
        let url = format!("http://slow.localhost:{}{path}", field.platform.address().port());
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""])
            .arg(&hosts)
            .args(["timeout", "30", "slowhttptest", "-c", "500", "-r", "200", "-l", "15", "-p", "3", "-v", "1"])
            .args(options)
            .args(["-u", &url])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| line.contains("service available"));
        let last = last.with_context(|| format!("slowhttptest is needed: apt-get install -y slowhttptest\n{text}"))?;
        ensure!(last.contains("YES"), "{name}: the service was not available\n{text}");
        let answer = field.platform.visit("slow", "/")?;
        ensure!(answer.status == 200, "{name}: {} afterwards", answer.status);
        tell(&format!("{name}: the service stays available"));
    }
    Ok(())
}
