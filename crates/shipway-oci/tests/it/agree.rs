//! The same tree as other programs make of the same archive: GNU tar and Python.

use std::path::Path;
use std::process::Command;

use shipway_oci::UnpackLimits;

use crate::craft::tell;

/// Makes a tree with everything a root file system has that is kept.
const TREE: &str = r#"
set -eu
cd "$1"
mkdir -p usr/bin etc var/lib/empty 'odd names/with space' "$(printf 'd%.0s' $(seq 120))"
ln -s usr/bin bin
ln -s /proc/self/mounts etc/mtab
ln -s "$(printf 't%.0s' $(seq 200))" etc/long
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd
head -c 300000 /dev/zero | tr '\0' 'z' > usr/bin/program
ln usr/bin/program usr/bin/also
ln -P etc/mtab etc/mtab2
chmod 755 usr/bin/program
chmod 640 etc/passwd
chown 12:34 etc/passwd var/lib/empty
chown 65534:65534 'odd names'
chmod 1777 'odd names'
printf 'é' > "$(printf 'd%.0s' $(seq 120))/$(printf 'f%.0s' $(seq 150))"
printf x > 'odd names/with space/ümlaut'
: > empty
touch -d '1969-12-31 23:00:00 UTC' empty
touch -d '2020-02-02 02:02:02.5 UTC' etc/passwd usr usr/bin
chmod 700 .
"#;

/// Extracts with Python as it is documented for archives one trusts.
const PYTHON: &str = "import sys, tarfile\nwith tarfile.open(sys.argv[1]) as t: t.extractall(sys.argv[2], numeric_owner=True, filter='fully_trusted') if hasattr(tarfile, 'data_filter') else t.extractall(sys.argv[2], numeric_owner=True)\n";

const PACK_WITH_PYTHON: &str = "import sys, tarfile\nwith tarfile.open(sys.argv[1], 'w', format=int(sys.argv[3])) as t: t.add(sys.argv[2], arcname='.')\n";

#[track_caller]
fn run(command: &mut Command) {
    let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Symlinks without their times, which Python does not set.
fn timed(tree: &Path) -> Vec<String> {
    let untimed = |line: String| match line.split_once(" -> ") {
        Some((head, target)) => format!("{} -> {target}", head.rsplit_once(' ').unwrap().0),
        None => line,
    };
    tell(tree).into_iter().map(untimed).collect()
}

/// Unpacks `archive` with GNU tar, Python and us, and compares all three.
#[track_caller]
fn agree(home: &Path, archive: &Path) {
    let fresh = |name: &str| {
        let folder = home.join(name);
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (ours, gnu, python) = (fresh("ours"), fresh("gnu"), fresh("python"));
    shipway_oci::unpack(std::fs::File::open(archive).unwrap(), &ours, &UnpackLimits::default()).unwrap();
    run(Command::new("tar").args(["--numeric-owner", "-p", "-xf"]).arg(archive).arg("-C").arg(&gnu));
    run(Command::new("python3").args(["-c", PYTHON]).arg(archive).arg(&python));
    let told = timed(&ours);
    assert!(told.len() > 10, "{told:?}");
    assert_eq!(told, timed(&gnu), "GNU tar, {}", archive.display());
    assert_eq!(told, timed(&python), "Python, {}", archive.display());
}

#[test]
fn good_archives_become_the_tree_that_others_make_of_them() {
    let home = tempfile::tempdir().unwrap();
    let (tree, archive) = (home.path().join("tree"), home.path().join("archive"));
    std::fs::create_dir(&tree).unwrap();
    run(Command::new("/bin/sh").args(["-c", TREE, "sh"]).arg(&tree));
    // The older forms have neither long names nor times before 1970.
    for form in ["gnu", "pax", "posix"] {
        let flag = format!("--format={form}");
        run(Command::new("tar").args([&flag, "--numeric-owner", "-cf"]).arg(&archive).arg("-C").arg(&tree).arg("."));
        agree(home.path(), &archive);
    }
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&tree).arg("."));
    agree(home.path(), &archive);
    // GNU_FORMAT and PAX_FORMAT, as Python's documentation numbers them.
    for form in ["1", "2"] {
        run(Command::new("python3").args(["-c", PACK_WITH_PYTHON]).arg(&archive).arg(&tree).arg(form));
        agree(home.path(), &archive);
    }
}

#[test]
fn what_we_pack_is_read_by_others() {
    let home = tempfile::tempdir().unwrap();
    let (tree, archive) = (home.path().join("tree"), home.path().join("archive"));
    std::fs::create_dir(&tree).unwrap();
    run(Command::new("/bin/sh").args(["-c", TREE, "sh"]).arg(&tree));
    let out = std::fs::File::create(&archive).unwrap();
    shipway_oci::pack(&tree, out, &UnpackLimits::default()).unwrap();
    agree(home.path(), &archive);
}
