//! One boot of the machine, read by its serial line.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::disk::MARK;
use crate::sh::say;

/// What the suites said.
pub(super) struct Report {
    /// A line for each suite.
    pub(super) lines: Vec<String>,
    pub(super) all_passed: bool,
}

/// Boots the disk, waits until the machine has powered itself off, reads the results.
pub(super) fn run(folder: &Path, disk: &Path, limit: Duration) -> anyhow::Result<Report> {
    let mut child = boot(folder, disk)?;
    let serial = child.stdout.take().context("qemu has a serial line")?;
    let result = listen(folder, serial, limit);
    // Ours, by its handle; it may have powered off already.
    drop(child.kill());
    child.wait()?;
    result
}

fn boot(folder: &Path, disk: &Path) -> anyhow::Result<Child> {
    let boot = folder.join("tree/boot");
    let kernel = newest(&boot, "vmlinuz-")?;
    let initrd = newest(&boot, "initrd.img-")?;
    Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "3072",
            "-nographic",
            "-no-reboot",
            "-net",
            "none",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()))
        .args(["-append", "root=/dev/vda rw console=ttyS0 quiet panic=1 systemd.show_status=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu")
}

fn newest(folder: &Path, prefix: &str) -> anyhow::Result<PathBuf> {
    let names = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let matching = names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    matching.max().with_context(|| format!("no {prefix}* in {}", folder.display()))
}

fn listen(folder: &Path, serial: ChildStdout, limit: Duration) -> anyhow::Result<Report> {
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let mut log = File::create(folder.join("serial.log"))?;
    let mut report = Report { lines: Vec::new(), all_passed: true };
    let begun = Instant::now();
    loop {
        match lines.recv_timeout(limit.saturating_sub(begun.elapsed())) {
            Ok(line) => {
                writeln!(log, "{line}")?;
                note(&line, &mut report);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine is not through after {} minutes", limit.as_secs() / 60)
            }
        }
    }
    reader.join().map_err(|_| anyhow::anyhow!("reading the serial line panicked"))?;
    Ok(report)
}

fn note(line: &str, report: &mut Report) {
    if let Some(rest) = line.strip_prefix(MARK) {
        report.all_passed &= rest.starts_with(" passed");
        report.lines.push(rest.trim().to_owned());
        say(rest.trim());
    } else if line.starts_with("test result:") {
        say(line);
    }
}
