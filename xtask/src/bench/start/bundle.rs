//! One root file system, and an OCI bundle around it with what our containers have:
//! the same namespaces, user, limits and private places. It has no seccomp filter,
//! which ours has: a peer's profile would be another one, and this favours the peer.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use shipway_stdx::fs::{Durability, write_atomic};
use tempfile::TempDir;

/// First of the user ids that the bundle's containers get, as many as ours.
const FIRST_ID: u32 = 1_000_000;
const IDS: u32 = 65536;
const MEMORY_BYTES: u64 = 64 << 20;
/// As a process that was started by hand would be called.
const NAME: &str = "shipway-bench";

/// A bundle in a directory of its own, gone when dropped.
pub(super) struct Bundle {
    folder: TempDir,
}

impl Bundle {
    pub(super) fn new(argv: &[&str]) -> anyhow::Result<Self> {
        // The root of a user namespace must be able to pass through.
        let passable = Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().prefix("shipway-bench-").permissions(passable).tempdir()?;
        let bundle = Self { folder };
        make_tree(&bundle.tree())?;
        let path = bundle.folder.path();
        let status = Command::new("runc").args(["spec", "--bundle"]).arg(path).status();
        ensure!(status.context("runc is needed: apt-get install -y runc")?.success(), "runc spec failed");
        let file = path.join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        like_ours(&mut config, argv)?;
        write_atomic(&file, config.to_string().as_bytes(), 0o644, Durability::Process)?;
        Ok(bundle)
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    /// Makes, runs and removes a container.
    pub(super) fn run(&self, runtime: &str) -> anyhow::Result<()> {
        self.call(runtime, &["run", "--bundle", &self.path(), NAME])
    }

    /// Runs one until the result is dropped.
    pub(super) fn keep_running<'a>(&'a self, runtime: &'a str) -> anyhow::Result<Sleeper<'a>> {
        self.call(runtime, &["run", "--detach", "--bundle", &self.path(), NAME])?;
        Ok(Sleeper { bundle: self, runtime })
    }

    /// Runs another process in the one that is kept running.
    pub(super) fn exec(&self, runtime: &str) -> anyhow::Result<()> {
        self.call(runtime, &["exec", NAME, "/bin/true"])
    }

    /// Namespaces and a root, by util-linux: no users, limits, filter, log or status.
    pub(super) fn unshare(&self) -> anyhow::Result<()> {
        let tree = self.tree();
        let proc = format!("--mount-proc={}", tree.join("proc").display());
        let mut command = Command::new("unshare");
        command.args(["-m", "-u", "-i", "-n", "-p", "-f", &proc, "chroot"]).arg(tree).arg("/bin/true");
        finish(&mut command)
    }

    fn path(&self) -> String {
        self.folder.path().to_string_lossy().into_owned()
    }

    fn call(&self, runtime: &str, words: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(runtime);
        command.arg("--root").arg(self.folder.path().join(runtime)).args(words);
        finish(&mut command)
    }
}

/// A container that is killed and removed when dropped.
pub(super) struct Sleeper<'a> {
    bundle: &'a Bundle,
    runtime: &'a str,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.bundle.call(self.runtime, &["delete", "--force", NAME]) {
            crate::sh::say(&format!("{NAME} is not removed: {error:#}"));
        }
    }
}

/// Runs a program to its end. What it says goes to a file, not to a pipe: a
/// container that runs on would hold that open.
pub(in super::super) fn finish(command: &mut Command) -> anyhow::Result<()> {
    let said = tempfile::NamedTempFile::new()?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen()?);
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    let said = || fs::read_to_string(said.path()).unwrap_or_default();
    ensure!(status.success(), "{program} ended with {status}: {}", said().trim());
    Ok(())
}

fn like_ours(config: &mut Value, argv: &[&str]) -> anyhow::Result<()> {
    let process = &mut config["process"];
    process["terminal"] = json!(false);
    process["args"] = json!(argv);
    process["user"] = json!({ "uid": 1000, "gid": 1000 });
    process["capabilities"] = json!({});
    let linux = &mut config["linux"];
    linux["resources"] = json!({
        "memory": { "limit": MEMORY_BYTES, "swap": MEMORY_BYTES },
        "cpu": { "quota": 200_000, "period": 100_000 },
        "pids": { "limit": 32 },
    });
    linux["namespaces"] =
        json!(["user", "pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind })));
    let ids = json!([{ "containerID": 0, "hostID": FIRST_ID, "size": IDS }]);
    linux["uidMappings"] = ids.clone();
    linux["gidMappings"] = ids;
    let mounts = config["mounts"].as_array_mut().context("a specification has mounts")?;
    // Our containers do not see the cgroups; they have private places to write.
    mounts.retain(|mount| mount["type"] != "cgroup");
    for place in ["/tmp", "/run", "/var/tmp", "/data"] {
        let options = ["nosuid", "nodev", "size=4m", "nr_inodes=200", "mode=1777"];
        mounts.push(json!({ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": options }));
    }
    Ok(())
}

/// A root file system of one busybox.
fn make_tree(tree: &Path) -> anyhow::Result<()> {
    for name in ["bin", "etc", "dev", "proc", "sys", "tmp", "run", "var/tmp", "data", "srv"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).context("apt-get install -y busybox-static")?;
    for name in ["sh", "sleep", "true"] {
        symlink("busybox", tree.join("bin").join(name))?;
    }
    Ok(())
}
