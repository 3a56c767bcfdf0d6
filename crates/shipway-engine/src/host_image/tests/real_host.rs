//! The image of the host that the tests run on, where that is a Debian.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::child;
use crate::host_image::{HostImage, HostImageConfig, HostImages, Wanted};
use crate::layers::TreeLimits;
use crate::layers::manifest::{Kind, Manifest};

/// The required packages and the interpreters that every Debian has: what is left
/// out would only be more of the same, and takes minutes on a busy machine.
pub(super) fn config() -> HostImageConfig {
    let mut config = HostImageConfig::default();
    config.packages.retain(|wanted| wanted.is_required);
    let interpreters = ["bash", "perl-base", "python3"].map(Wanted::optional);
    config.packages.extend(interpreters);
    config
}

fn output(image: &HostImage, argv: &[&str]) -> String {
    // With the host's /dev, in a mount table of its own: perl opens /dev/null.
    const ENTER: &str = r#"mount --bind /dev "$0/dev" && exec chroot "$0" "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER]);
    command.arg(&image.path).args(argv).env_clear();
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argv:?}: {words}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn programs_of_this_host_run_inside_and_two_builds_agree() {
    if !Path::new("/var/lib/dpkg/status").exists() {
        println!("SKIPPED: this host is no Debian");
        return;
    }
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let images = HostImages::open(dirs[0].path(), config()).unwrap();
    let image = images.current().await.unwrap();
    runs_programs(&image);
    shares_nothing(&image);
    child::build_real(dirs[1].path());
    let other = HostImages::open(dirs[1].path(), config()).unwrap();
    assert_eq!(other.list().unwrap(), [image.digest]);
}

fn runs_programs(image: &HostImage) {
    assert_eq!(output(image, &["sh", "-c", "echo a b | awk '{print $2}'"]), "b");
    assert_eq!(output(image, &["sh", "-c", "printf x | sed s/x/y/ | grep y"]), "y");
    assert_eq!(output(image, &["id", "-un"]), "root");
    for (program, argv, answer) in [
        ("usr/bin/bash", ["bash", "-c", "echo ${BASH_VERSINFO:+yes}"], "yes"),
        ("usr/bin/python3", ["python3", "-c", "import ssl, json; print(6 * 7)"], "42"),
        ("usr/bin/perl", ["perl", "-e", "use POSIX; print floor(42.5)"], "42"),
    ] {
        if image.path.join(program).exists() {
            assert_eq!(output(image, &argv), answer);
        }
    }
    if image.path.join("usr/bin/python3").exists() {
        // Found compiled, and by a bytecode file that is never checked again.
        let script = "import json; f = open(json.__cached__, 'rb').read(8); print(f[4])";
        assert_eq!(output(image, &["python3", "-c", script]), "1");
    }
}

fn shares_nothing(image: &HostImage) {
    // Shared inodes are refused by the scan itself.
    let manifest = Manifest::scan(&image.path, TreeLimits::default()).unwrap();
    assert_eq!(manifest.digest(), image.digest);
    let mut files = 0;
    for entry in manifest.entries() {
        if !matches!(entry.kind, Kind::File { .. }) {
            continue;
        }
        files += 1;
        assert_eq!(entry.mode & 0o7022, 0, "{}", entry.path.display());
        let ours = std::fs::metadata(image.path.join(&entry.path)).unwrap();
        if let Ok(theirs) = std::fs::metadata(Path::new("/").join(&entry.path)) {
            let same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
            assert!(!same, "{}", entry.path.display());
        }
    }
    assert!(files > 500, "{files}");
}
