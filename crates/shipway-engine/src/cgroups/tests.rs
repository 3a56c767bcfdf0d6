//! Reading of a host's trees from text, and real cgroups on this host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use super::usage::{io_v1, io_v2};
use super::{Cgroups, Hierarchies, Limits, Pool};

/// Mounts, as text; expected: the trees, as a person would say them.
#[track_caller]
fn check(mountinfo: &str, expected: &str) {
    let found = Hierarchies::parse(mountinfo);
    let v1: Vec<String> = found.v1.iter().map(|(name, path)| format!("{name} at {}", path.display())).collect();
    let v2 = found.v2.iter().map(|path| format!("v2 at {}", path.display()));
    let all: Vec<String> = v1.into_iter().chain(v2).collect();
    let said = format!("{}: {}", found.kind(), all.join(", "));
    assert_eq!(said, expected);
}

#[test]
fn a_systemd_host_has_one_tree() {
    check(
        "24 1 0:21 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        "v2: v2 at /sys/fs/cgroup",
    );
}

#[test]
fn an_old_host_has_a_tree_for_each_controller() {
    check(
        "30 1 0:1 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         31 1 0:2 / /cg/my\\040memory rw - cgroup cgroup rw,memory\n\
         32 1 0:3 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
         33 1 0:4 / / rw - ext4 /dev/vda rw,memory\n",
        "v1: cpu at /cg/cpu,cpuacct, cpuacct at /cg/cpu,cpuacct, memory at /cg/my memory",
    );
}

#[test]
fn a_hybrid_host_has_both() {
    check(
        "30 1 0:1 / /cg/pids rw - cgroup none rw,pids\n\
         31 1 0:2 / /cg/unified rw - cgroup2 none rw\n\
         32 1 0:2 / /elsewhere rw - cgroup2 none rw\n",
        "hybrid: pids at /cg/pids, v2 at /cg/unified",
    );
}

#[test]
fn strange_lines_are_passed_over() {
    check("\n - \nx - cgroup\n1 2 3 4 5 - cgroup2\n", "v2: v2 at 5");
    check("", "none: ");
}

#[test]
fn bytes_to_and_from_disks_are_summed() {
    let v1 = "254:0 Read 4096\n254:0 Write 100\n7:1 Read 4\n254:0 Total 4196\nTotal 4200\n";
    assert_eq!(io_v1(v1), (4100, 100));
    let v2 = "254:0 rbytes=4096 wbytes=1 rios=1 wios=1\n7:0 rbytes=4 wbytes=2\n";
    assert_eq!(io_v2(v2), (4100, 3));
    assert_eq!((io_v1("rubbish"), io_v2("rbytes=x")), ((0, 0), (0, 0)));
}

#[test]
fn a_host_without_a_controller_is_refused_by_its_name() {
    let bare = Hierarchies {
        v1: BTreeMap::from([("memory".to_owned(), PathBuf::from("/nowhere"))]),
        ..Hierarchies::default()
    };
    let error = Cgroups::open(&bare, "0", None).unwrap_err().to_string();
    assert!(error.starts_with("this host has no `pids` cgroup"), "{error}");
}

/// The engine's own directories of a test, removed at the end.
struct Own(Cgroups, String);

impl Own {
    fn open(test: &str) -> Self {
        let instance = format!("test-{test}-{}", std::process::id());
        let hierarchies = Hierarchies::detect().unwrap();
        Self(Cgroups::open(&hierarchies, &instance, None).unwrap(), instance)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for name in self.0.list() {
            // Busy for a moment after its last process.
            let removed = (0..10_000).any(|_| self.0.remove(&name).is_ok());
            assert!(removed, "{name} cannot be removed");
        }
        self.0.close();
        for tree in &self.0.trees {
            assert!(!tree.folder.exists(), "{} left behind", self.1);
        }
    }
}

#[test]
fn limits_are_really_written() {
    let own = Own::open("limits");
    let cgroups = &own.0;
    let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 250, pids: 17 };
    cgroups.make("one").unwrap();
    cgroups.limit("one", &limits).unwrap();
    let read = |place: &super::Place, v1, v2| {
        let text = fs::read_to_string(place.file("one", v1, v2)).unwrap();
        text.trim().to_owned()
    };
    let memory = read(&cgroups.memory, "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory, (64 << 20).to_string());
    assert_eq!(read(&cgroups.pids, "pids.max", "pids.max"), "17");
    let cpu = read(&cgroups.cpu, "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(cpu.split(' ').next(), Some("25000"));
    assert_eq!(cgroups.usage("one").pids, 0);
    assert_eq!(cgroups.members("one").len(), cgroups.trees.len());
    cgroups.remove("one").unwrap();
    cgroups.remove("one").unwrap();
}

/// As on a host that has never mounted the v2 tree. On a v2 host there is no such.
#[test]
fn without_a_v2_tree_it_counts_and_kills_all_the_same() {
    let mut hierarchies = Hierarchies::detect().unwrap();
    if hierarchies.kind() == "v2" {
        eprintln!("skipped: this host has no v1 trees");
        return;
    }
    hierarchies.v2 = None;
    let instance = format!("test-v1-{}", std::process::id());
    let own = Own(Cgroups::open(&hierarchies, &instance, None).unwrap(), instance);
    own.0.make("one").unwrap();
    assert!(own.0.members("one").iter().all(|member| !member.v2));
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    for member in own.0.members("one") {
        super::put(member.path.join("cgroup.procs"), &child.id().to_string()).unwrap();
    }
    assert_eq!(own.0.usage("one").pids, 1);
    own.0.kill("one");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(own.0.processes("one").is_empty());
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    let own = Own::open("refuse");
    let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 0, pids: 17 };
    own.0.make("one").unwrap();
    let error = own.0.limit("one", &limits).unwrap_err().to_string();
    assert!(error.starts_with("could not write"), "{error}");
    let error = own.0.limit("none", &limits).unwrap_err().to_string();
    assert!(error.starts_with("could not write"), "{error}");
}

#[test]
fn a_pool_gives_each_cgroup_once() {
    let own = Own::open("pool");
    let pool = Pool::new(2, "p".to_owned());
    pool.refill(&own.0).unwrap();
    let names: Vec<String> = (0..3).map(|_| pool.take(&own.0).unwrap()).collect();
    assert_eq!(names, ["p-0", "p-1", "p-2"]);
    pool.refill(&own.0).unwrap();
    assert_eq!(pool.drain(), ["p-3", "p-4"]);
    assert_eq!(own.0.list().len(), 5);
}
