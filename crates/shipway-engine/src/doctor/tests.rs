//! Doctor on the host the tests run on, and its readers on texts of others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;

/// Checks make children that the test of their traces would take for leftovers.
fn alone() -> MutexGuard<'static, ()> {
    static CHECKS: Mutex<()> = Mutex::new(());
    CHECKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(state_dir: PathBuf) -> DoctorConfig {
    let engine_root = state_dir.join("engine");
    let outside = OutsideConfig::default();
    DoctorConfig { state_dir, host_images_dir: None, host_image: HostImageConfig::default(), engine_root, outside }
}

/// What a check could leave behind: mounts, groups, children, files. (Interfaces are
/// made in a namespace of their own.)
fn traces(dir: &std::path::Path) -> Vec<String> {
    let mut traces = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = dir.display().to_string();
    traces.extend(mounts.lines().filter(|line| line.contains(&ours)).map(str::to_owned));
    for hierarchy in cgroups::parse(&mounts) {
        let entries = std::fs::read_dir(hierarchy.path).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        traces.extend(names.filter(|name| name.starts_with("shipway-doctor-")));
    }
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        traces.push(entry.file_name().to_string_lossy().into_owned());
    }
    let children = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    for task in children {
        // A thread may be gone before its children are read.
        let children = std::fs::read_to_string(task.path().join("children"));
        let children = children.unwrap_or_default();
        for child in children.split_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            traces.extend((name.trim() == "doctor").then(|| format!("child {child}")));
        }
    }
    traces
}

#[test]
fn every_check_answers_and_leaves_nothing_behind() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let before = traces(dir.path());
    let findings = examine(&config(dir.path().join("not/yet/made")));
    assert_eq!(traces(dir.path()), before);
    let names: Vec<&str> = findings.iter().map(|finding| finding.check.as_str()).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{names:?}");
    for finding in &findings {
        let has_remedy = finding.remedy.is_some();
        assert_eq!(has_remedy, finding.status != Status::Ok, "{finding:?}");
        assert!(!finding.what.is_empty(), "{finding:?}");
    }
    let json = serde_json::to_string(&findings).unwrap();
    let again: Vec<Finding> = serde_json::from_str(&json).unwrap();
    assert_eq!(again, findings);
}

#[test]
fn what_is_missing_is_found_missing() {
    let _alone = alone();
    let find = |config: &DoctorConfig, name: &str| {
        let check = checks().find(|(check, _)| *check == name).unwrap();
        probe::within_time(check.1, config)
    };
    // proc(5) takes no directories, no upper layer, no copies, no id-mapping.
    let odd = config(PathBuf::from("/proc/sys"));
    for name in ["mount.overlay", "mount.idmap_state_dir", "storage.reflink"] {
        assert_ne!(find(&odd, name).status, Status::Ok, "{name}");
    }
    let mut bare = config(PathBuf::from("/"));
    bare.host_image.host_root = PathBuf::from("/proc");
    let outcome = find(&bare, "host_image.packages");
    assert_eq!(outcome.status, Status::Missing);
    assert!(outcome.what.starts_with("no package database at /proc/"), "{outcome:?}");
    // proc cannot be id-mapped anywhere: the probe must notice, not assume.
    let namespace = probe::IdleChild::user_namespace().unwrap();
    let own = std::thread::spawn(move || {
        probe::enter_own_mounts().unwrap();
        let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE;
        let proc = rustix::mount::open_tree(rustix::fs::CWD, "/proc", flags).unwrap();
        probe::idmap(&proc, &namespace).map_err(|error| error.raw_os_error())
    });
    assert_eq!(own.join().unwrap(), Err(Some(libc::EINVAL)));
}

#[test]
fn a_state_directory_that_cannot_be_id_mapped_is_found_out() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    // Threads inherit their maker's mounts, so the check sees this overlay and nobody else does.
    let own = std::thread::spawn(move || {
        probe::enter_own_mounts().unwrap();
        for folder in ["lower", "upper", "work", "state"] {
            std::fs::create_dir(path.join(folder)).unwrap();
        }
        let at = path.display();
        let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        let state = path.join("state");
        rustix::mount::mount("overlay", &state, "overlay", flags, options.as_c_str()).unwrap();
        let check = checks().find(|(check, _)| *check == "mount.idmap_state_dir").unwrap();
        probe::within_time(check.1, &config(state))
    });
    let outcome = own.join().unwrap();
    assert_eq!(outcome.status, Status::Warning, "{outcome:?}");
    assert!(outcome.what.contains("cannot be id-mapped: Invalid argument"), "{outcome:?}");
}

#[test]
fn an_idle_child_ends_when_it_is_dropped() {
    let child = probe::IdleChild::start(libc::CLONE_NEWPID | libc::CLONE_NEWNET).unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.pid()));
    assert_ne!(std::fs::read_link(proc.join("ns/net")).unwrap(), std::fs::read_link("/proc/self/ns/net").unwrap());
    drop(child);
    assert!(!proc.exists());
}

#[test]
fn what_a_killed_doctor_left_is_swept_and_a_living_ones_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(format!(".shipway-doctor-{name}")));
    for path in [&old, &new] {
        std::fs::create_dir_all(path.join("l/u")).unwrap();
    }
    let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    std::fs::File::open(&old).unwrap().set_times(times).unwrap();
    drop(probe::Scratch::near(dir.path()).unwrap());
    assert!(!old.exists() && new.exists());
}

#[test]
fn hierarchies_are_read_from_mountinfo() {
    let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
        nonsense\n";
    let found = cgroups::parse(text);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].path, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
    assert_eq!(found[0].controllers, ["rw", "cpu", "cpuacct"]);
    assert!(!found[0].is_v2 && found[1].is_v2);
}

#[test]
fn versions_are_read() {
    assert_eq!(kernel::parse("6.1.0-13-amd64"), Some((6, 1)));
    assert_eq!(kernel::parse("banana"), None);
}
