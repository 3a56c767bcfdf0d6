//! A Debian 12 from its packages, and our test binaries in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use shipway_stdx::fs::{Durability, write_atomic};

use super::{Binary, debug_folder};
use crate::sh::{self, say};

/// What the machine has beside Debian's minimum: an init, a kernel, and what the tests start.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,linux-image-amd64,initramfs-tools,busybox-static,ca-certificates,\
                        curl,fcgiwrap,gawk,iproute2,iptables,nftables,nginx-light,nodejs,perl,procps,python3,strace";

/// Room for Debian, the tests, and what they write.
const DISK_SIZE: &str = "6G";

/// Makes the tree of a stock Debian, unless it is there and has the same packages.
pub(super) fn make_tree(folder: &Path, fresh: bool) -> anyhow::Result<()> {
    let (tree, partial) = (folder.join("tree"), folder.join("tree.partial"));
    let list = folder.join("tree.packages");
    let is_current = fs::read_to_string(&list).is_ok_and(|packages| packages == PACKAGES);
    if (fresh || !is_current) && tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    if tree.exists() {
        return Ok(());
    }
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    say("making a Debian 12 from its packages (a minute or two)");
    let include = format!("--include={PACKAGES}");
    let partial_text = partial.to_string_lossy().into_owned();
    let mut words = vec!["--quiet", "--variant=minbase", &include, "bookworm", &partial_text];
    // This host's own sources, so that a mirror or a company's proxy is used here too.
    let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    words.extend(sources.iter().find(|path| Path::new(path).exists()));
    sh::run("mmdebstrap", &words)?;
    fs::rename(&partial, &tree).context("cannot put the tree in its place")?;
    Ok(write_atomic(&list, PACKAGES.as_bytes(), 0o644, Durability::Process)?)
}

/// Puts the test binaries where cargo built them (tests know each other's
/// programs by absolute paths), and a unit that runs them and powers off.
pub(super) fn install(folder: &Path, binaries: &[Binary], filter: Option<&str>) -> anyhow::Result<()> {
    let tree = folder.join("tree");
    let debug = debug_folder()?;
    let inside = tree.join(debug.strip_prefix("/")?);
    if inside.exists() {
        fs::remove_dir_all(&inside)?;
    }
    fs::create_dir_all(inside.join("deps"))?;
    for binary in binaries {
        copy(&binary.path, &tree)?;
    }
    for program in ["shipway-shim", "shipway-runner"] {
        copy(&debug.join(program), &tree)?;
    }
    copy_sources(&tree)?;
    fs::create_dir_all(tree.join("shipway"))?;
    let script = script(binaries, filter);
    write_atomic(&tree.join("shipway/suite"), script.as_bytes(), 0o755, Durability::Process)?;
    install_unit(&tree, UNIT)
}

/// Makes systemd run `/shipway/suite` at the end of the boot.
pub(super) fn install_unit(tree: &Path, text: &str) -> anyhow::Result<()> {
    let unit = tree.join("etc/systemd/system/shipway-suite.service");
    write_atomic(&unit, text.as_bytes(), 0o644, Durability::Process)?;
    let wants = tree.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    link("../shipway-suite.service", &wants.join("shipway-suite.service"))?;
    // A login prompt on the serial line would hang up on the suite.
    link("/dev/null", &tree.join("etc/systemd/system/serial-getty@ttyS0.service"))
}

fn link(target: &str, path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_err() {
        symlink(target, path)?;
    }
    Ok(())
}

/// `Delegate=yes`: the tests make cgroups, as Shipway's own unit does.
const UNIT: &str = "[Unit]\nDescription=Shipway's tests\nAfter=multi-user.target\n\n\
    [Service]\nType=oneshot\nDelegate=yes\nExecStart=/shipway/suite\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n\
    ExecStopPost=/usr/bin/systemctl poweroff --force\n";

/// The gate ends the machine itself, one way or the other.
pub(super) const GATE_UNIT: &str = "[Unit]\nDescription=Shipway's gate\nAfter=multi-user.target\n\n\
    [Service]\nType=exec\nExecStart=/shipway/suite\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n";

fn copy(path: &Path, tree: &Path) -> anyhow::Result<()> {
    let to = tree.join(path.strip_prefix("/")?);
    fs::copy(path, &to).with_context(|| format!("cannot copy {} to {}", path.display(), to.display()))?;
    Ok(())
}

/// Fixtures are read by absolute path too.
fn copy_sources(tree: &Path) -> anyhow::Result<()> {
    let crates = sh::root().join("crates");
    let inside = tree.join(crates.strip_prefix("/")?);
    fs::create_dir_all(inside.parent().context("crates has a parent")?)?;
    if inside.exists() {
        fs::remove_dir_all(&inside)?;
    }
    sh::run("cp", &["-a", &crates.to_string_lossy(), &inside.to_string_lossy()])
}

/// The words that the machine prints when a suite is through.
pub(super) const MARK: &str = "SHIPWAY-SUITE";

fn script(binaries: &[Binary], filter: Option<&str>) -> String {
    let mut script =
        "#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb\nuname -r\nstat -f -c %T /sys/fs/cgroup\n"
            .to_owned();
    let filter = filter.unwrap_or_default();
    for binary in binaries {
        let path = binary.path.display();
        script += &format!(
            "echo; echo '=== {name}'\nif '{path}' --test-threads=2 '{filter}'; then echo; echo '{MARK} passed {name}'; \
             else echo; echo '{MARK} FAILED {name}'; fi\n",
            name = binary.name
        );
    }
    script
}

/// Makes the disk: ext4 over the whole of it, filled from the tree.
pub(super) fn make_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let disk = folder.join("disk.img");
    if disk.exists() {
        fs::remove_file(&disk)?;
    }
    let (tree, disk_text) = (folder.join("tree"), disk.to_string_lossy().into_owned());
    sh::run("mke2fs", &["-q", "-t", "ext4", "-d", &tree.to_string_lossy(), &disk_text, DISK_SIZE])?;
    Ok(disk)
}
