//! What an image holds that no package gives: empty places to mount on, and an
//! `/etc` that says nothing about the host.

use std::path::{Path, PathBuf};

use super::plan::{Item, Plan};

/// The bundle that OpenSSL, `GnuTLS`, curl and Python look for, company CAs included:
/// `update-ca-certificates` puts them into it.
pub(super) const CA_BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Mount points and homes. All belong to root; only the sticky ones may be written.
const FOLDERS: [(&str, u32); 22] = [
    (".shipway", 0o755),
    ("data", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    ("home", 0o755),
    ("home/user", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";

/// `tty` is who owns terminals: devpts is mounted with `gid=5`.
const GROUP: &str = "\
root:x:0:
tty:x:5:
user:x:1000:
nogroup:x:65534:
";

const NSSWITCH: &str = "\
passwd: files
group: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
";

/// The container's own are mounted over these; without them there is nothing to mount on.
const PLACEHOLDERS: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Adds all of it, except where a package has put something already.
pub(super) fn add_to(plan: &mut Plan, host_root: &Path) {
    for (path, mode) in FOLDERS {
        plan.add(path, Item::Folder { mode });
    }
    for path in PLACEHOLDERS {
        plan.add(path, Item::Inline { bytes: Vec::new() });
    }
    for (path, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", NSSWITCH),
        ("etc/shells", "/bin/sh\n/bin/dash\n/bin/bash\n"),
    ] {
        let bytes = text.as_bytes().to_vec();
        plan.add(path, Item::Inline { bytes });
    }
    symlink(plan, "etc/mtab", "../proc/self/mounts");
    symlink(plan, "var/run", "/run");
    add_ca_bundle(plan, host_root);
}

fn add_ca_bundle(plan: &mut Plan, host_root: &Path) {
    let source = host_root.join(CA_BUNDLE);
    if !source.is_file() {
        return;
    }
    plan.add(CA_BUNDLE, Item::Copy { source });
    // OpenSSL's own name for it. Some releases of Debian ship it, older ones rely
    // on a directory of thousands of links, which an image does not have.
    if plan.items.contains_key(Path::new("usr/lib/ssl")) {
        symlink(plan, "usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt");
    }
}

fn symlink(plan: &mut Plan, path: &str, target: &str) {
    let target = PathBuf::from(target);
    plan.add(path, Item::Symlink { target });
}
