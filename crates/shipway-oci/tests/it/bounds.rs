//! Archives that are too much: each limit ends one, early.

use std::cell::Cell;
use std::io::{self, Read};

use shipway_oci::{Rule, UnpackError, UnpackLimits};

use crate::craft::*;

#[track_caller]
fn too_much(archive: &[u8], limits: &UnpackLimits, rule: Rule) {
    let (result, _) = unpack(archive, limits);
    assert_eq!(result.map_err(|error| error.rule()), Err(Some(rule)));
}

#[test]
fn each_limit_is_one() {
    let plain = UnpackLimits::default();
    let many: Vec<_> = (0..20).map(|n| file(format!("f{n}"), "0123456789")).collect();
    let many = archive(&many);
    assert!(unpack(&many, &UnpackLimits { entries_max: 20, ..plain }).0.is_ok());
    too_much(&many, &UnpackLimits { entries_max: 19, ..plain }, Rule::Entries);
    assert!(unpack(&many, &UnpackLimits { bytes_max: 200, ..plain }).0.is_ok());
    too_much(&many, &UnpackLimits { bytes_max: 199, ..plain }, Rule::Bytes);
    too_much(&many, &UnpackLimits { stream_max: 4096, ..plain }, Rule::Bytes);
    too_much(&many, &UnpackLimits { names_max: 30, ..plain }, Rule::Names);
    let deep = archive(&[file("a/b/c/d", "x")]);
    assert!(unpack(&deep, &UnpackLimits { depth_max: 4, ..plain }).0.is_ok());
    too_much(&deep, &UnpackLimits { depth_max: 3, ..plain }, Rule::Depth);
    too_much(&deep, &UnpackLimits { entries_max: 3, ..plain }, Rule::Entries);
}

#[test]
fn hard_links_and_replaced_files_count() {
    let plain = UnpackLimits { bytes_max: 1 << 20, ..UnpackLimits::default() };
    let big = "x".repeat(600 << 10);
    too_much(&archive(&[file("a", &big), hard_link("b", "a")]), &plain, Rule::Bytes);
    too_much(&archive(&[file("a", &big), file("a", &big)]), &plain, Rule::Bytes);
}

/// A file of one tebibyte that is only said to be there.
#[test]
fn a_size_that_is_only_said_costs_nothing() {
    too_much(&archive(&[file("a", "").size(1 << 40)]), &UnpackLimits::default(), Rule::Bytes);
    too_much(&archive(&[Entry::new(b'L', "x").size(1 << 40)]), &UnpackLimits::default(), Rule::Extension);
    too_much(&archive(&[Entry::new(b'x', "x").size(2 << 20)]), &UnpackLimits::default(), Rule::Extension);
}

#[test]
fn bombs_are_ended_by_their_ratio() {
    let limits = UnpackLimits { ratio_free: 1 << 20, ..UnpackLimits::default() };
    let bomb = archive(&[file("zeros", vec![0; 16 << 20])]);
    too_much(&gzip(&bomb), &limits, Rule::Ratio);
    too_much(&zstd::encode_all(&bomb[..], 3).unwrap(), &limits, Rule::Ratio);
    assert!(unpack(&bomb, &limits).0.is_ok(), "zeros that were sent are no bomb");
    let behind_the_end = [archive(&[file("a", "x")]), vec![0; 16 << 20]].concat();
    too_much(&gzip(&behind_the_end), &limits, Rule::Ratio);
}

#[test]
fn a_window_that_fills_the_memory_is_refused() {
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    out.window_log(30).unwrap();
    io::Write::write_all(&mut out, &archive(&[file("a", "x")])).unwrap();
    too_much(&out.finish().unwrap(), &UnpackLimits::default(), Rule::Format);
}

/// Empty files without end: never held in memory, ended at the limit.
struct Endless<'a> {
    next: u64,
    block: Vec<u8>,
    read: &'a Cell<u64>,
}

impl Read for Endless<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            self.next += 1;
            file(format!("{:03}/{}", self.next % 500, self.next), "").write(&mut self.block);
        }
        let bytes = self.block.len().min(into.len());
        into[..bytes].copy_from_slice(&self.block[..bytes]);
        self.block.drain(..bytes);
        self.read.set(self.read.get() + bytes as u64);
        Ok(bytes)
    }
}

#[test]
fn a_million_entries_end_at_the_limit() {
    let home = tempfile::tempdir().unwrap();
    let read = Cell::new(0);
    let limits = UnpackLimits { entries_max: 20_000, ..UnpackLimits::default() };
    let result = shipway_oci::unpack(Endless { next: 0, block: Vec::new(), read: &read }, home.path(), &limits);
    assert_eq!(result.unwrap_err().rule(), Some(Rule::Entries));
    assert!(read.get() < 12 << 20, "{} bytes were read", read.get());
}

#[test]
fn an_input_that_fails_is_no_broken_rule() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk"))
        }
    }
    let home = tempfile::tempdir().unwrap();
    let start = archive(&[file("a", "x".repeat(5000))]);
    for part in [0, 100, 512, 2000] {
        let tree = tempfile::tempdir_in(home.path()).unwrap();
        let input = (&start[..part]).chain(Broken);
        let result = shipway_oci::unpack(input, tree.path(), &UnpackLimits::default());
        assert!(matches!(&result, Err(UnpackError::Read(source)) if source.to_string() == "the disk"), "{result:?}");
    }
}

#[test]
fn a_full_disk_is_told_with_the_entry() {
    let home = tempfile::tempdir().unwrap();
    let mounted =
        rustix::mount::mount("tmpfs", home.path(), "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=64k"));
    mounted.unwrap();
    let archive = archive(&[file("small", "x"), file("large", "x".repeat(1 << 20))]);
    let result = shipway_oci::unpack(&archive[..], home.path(), &UnpackLimits::default());
    rustix::mount::unmount(home.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    match result {
        Err(UnpackError::Write { path, source, .. }) => {
            assert_eq!((path.as_str(), source.kind()), ("large", io::ErrorKind::StorageFull));
        }
        other => panic!("{other:?}"),
    }
}
