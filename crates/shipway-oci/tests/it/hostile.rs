//! Archives that were made to get out, to confuse, or to be read in two ways. Each is
//! refused by the rule it breaks, and nothing is written outside.

use shipway_oci::{Rule, UnpackLimits};

use crate::craft::*;

#[test]
fn a_file_through_a_symlink_is_not_written() {
    let outside = tempfile::tempdir().unwrap();
    let there = outside.path().to_str().unwrap();
    refused(&[symlink("out", there), file("out/loot", "x")], Rule::ThroughSymlink);
    refused(&[symlink("a", "."), symlink("a/b", ".."), file("a/b/loot", "x")], Rule::ThroughSymlink);
    refused(&[folder("d"), symlink("d/up", "../.."), folder("d/up/loot")], Rule::ThroughSymlink);
    refused(&[symlink("proc", "/proc/self/cwd"), file("proc/loot", "x")], Rule::ThroughSymlink);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_symlink_is_never_written_to_and_never_dressed() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let before = tell(outside.path());
    let there = victim.to_str().unwrap();
    refused(&[symlink("out", there), file("out", "x")], Rule::TypeChange);
    refused(&[symlink("out", there), folder("out").mode(0o777).uid(4711)], Rule::TypeChange);
    refused(&[symlink("out", there), hard_link("in", "out/x")], Rule::HardLink);
    let (_, lines) = taken(&[symlink("out", there), symlink("out", "elsewhere")]);
    assert!(lines.iter().any(|line| line.starts_with("out ") && line.ends_with("-> elsewhere")), "{lines:?}");
    assert_eq!(tell(outside.path()), before);
}

#[test]
fn paths_that_lead_out_are_refused() {
    refused(&[file("/etc/passwd", "x")], Rule::Absolute);
    refused(&[file("../loot", "x")], Rule::Parent);
    refused(&[file("a/../../loot", "x")], Rule::Parent);
    refused(&[folder("..")], Rule::Parent);
    refused(&[pax(&[("path", "/etc/passwd")]), file("a", "x")], Rule::Absolute);
    refused(&[pax(&[("path", "a/../../b")]), file("a", "x")], Rule::Parent);
    refused(&[Entry::new(b'L', "././@LongLink").body("../x\0"), file("a", "x")], Rule::Parent);
}

#[test]
fn a_hard_link_names_an_earlier_file_of_the_archive() {
    refused(&[hard_link("a", "/etc/passwd")], Rule::HardLink);
    refused(&[hard_link("a", "../../../../etc/passwd")], Rule::HardLink);
    refused(&[hard_link("a", "b"), file("b", "x")], Rule::HardLink);
    refused(&[file("a", "x"), hard_link("a", "a")], Rule::HardLink);
    refused(&[folder("d"), hard_link("a", "d")], Rule::HardLink);
    refused(&[symlink("etc", "/etc"), hard_link("a", "etc/passwd")], Rule::HardLink);
    refused(&[file("f", "x"), pax(&[("linkpath", "/etc/passwd")]), hard_link("a", "f")], Rule::HardLink);
    refused(&[file("f", "x"), hard_link("a", "f").body("y")], Rule::Body);
}

#[test]
fn devices_and_pipes_are_refused_where_they_are_not_left_out() {
    refused(&[Entry::new(b'3', "etc/null")], Rule::Device);
    refused(&[Entry::new(b'4', "sda")], Rule::Device);
    refused(&[Entry::new(b'3', "dev")], Rule::Device);
    refused(&[Entry::new(b'3', "devil/null")], Rule::Device);
    refused(&[Entry::new(b'6', "run/initctl")], Rule::Special);
    refused(&[Entry::new(b'3', "dev/../null")], Rule::Parent);
    let (done, lines) = taken(&[folder("dev"), Entry::new(b'3', "dev/null"), Entry::new(b'6', "dev/initctl")]);
    assert_eq!(done.devices_left_out, 2);
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_name_stays_the_kind_of_thing_it_was() {
    refused(&[file("a", "x"), folder("a")], Rule::TypeChange);
    refused(&[folder("a"), file("a", "x")], Rule::TypeChange);
    refused(&[folder("a"), symlink("a", "b")], Rule::TypeChange);
    refused(&[file("a", "x"), symlink("a", "b")], Rule::TypeChange);
    refused(&[file("a", "x"), file("a/b", "x")], Rule::TypeChange);
    refused(&[file("a", "x"), file("a/b/c", "x")], Rule::TypeChange);
    refused(&[file("./", "x")], Rule::Kind);
    refused(&[symlink("./", "b")], Rule::TypeChange);
}

#[test]
fn what_two_programs_would_read_differently_is_refused() {
    refused(&[pax(&[("size", "1024")]), file("a", "x")], Rule::Extension);
    refused(&[pax(&[("size", "1"), ("size", "0")]), file("a", "x")], Rule::Extension);
    refused(&[pax(&[("path", "a"), ("path", "b")]), file("c", "x")], Rule::Extension);
    refused(&[pax(&[("path", "a")]), pax(&[("path", "b")]), file("c", "x")], Rule::Extension);
    refused(&[Entry::new(b'L', "././@LongLink").body("a\0"), pax(&[("path", "b")]), file("c", "x")], Rule::Extension);
    refused(&[Entry::new(b'L', "././@LongLink").body("a\0/../b"), file("c", "x")], Rule::Extension);
    refused(&[pax(&[("path", "")]), file("c", "x")], Rule::Extension);
    refused(&[Entry::new(b'x', "pax").body("9999 path=a\n"), file("c", "x")], Rule::Extension);
    refused(&[Entry::new(b'x', "pax").body("11 path=a\nX"), file("c", "x")], Rule::Extension);
    refused(&[Entry::new(b'g', "pax").body("10 path=a\n"), file("c", "x")], Rule::Extension);
    refused(&[pax(&[("path", "a\0b")]), file("c", "x")], Rule::Name);
    refused(&[symlink("a", "b").body("hidden")], Rule::Body);
    refused(&[folder("a").size(512), file("b", "x")], Rule::Body);
    refused(&[file("a/", "x")], Rule::Kind);
    refused(&[file("a", "x"), pax(&[("path", "b")])], Rule::Truncated);
}

#[test]
fn kinds_that_no_root_file_system_has_are_refused() {
    refused(&[Entry::new(b'S', "sparse").body("x")], Rule::Sparse);
    refused(
        &[pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "1099511627776")]), file("a", "")],
        Rule::Sparse,
    );
    refused(&[pax(&[("SCHILY.realsize", "1099511627776")]), file("a", "")], Rule::Sparse);
    for flag in [b'D', b'M', b'V', b'N', b'8', b'z', 0xff] {
        refused(&[Entry::new(flag, "a")], Rule::Kind);
    }
}

#[test]
fn names_and_owners_that_no_file_can_have_are_refused() {
    refused(&[file("", "x")], Rule::Name);
    refused(&[pax(&[("path", &"n".repeat(256))]), file("a", "x")], Rule::Name);
    refused(&[pax(&[("path", &format!("{}f", "d/".repeat(2100)))]), file("a", "x")], Rule::Name);
    refused(&[pax(&[("path", &format!("{}f", "d/".repeat(101)))]), file("a", "x")], Rule::Depth);
    refused(&[symlink("a", "")], Rule::Symlink);
    refused(&[pax(&[("linkpath", &"x".repeat(4096))]), symlink("a", "b")], Rule::Symlink);
    refused(&[file("a", "x").uid(65_536)], Rule::Owner);
    refused(&[file("a", "x").uid(u64::from(u32::MAX) + 1)], Rule::Owner);
    refused(&[pax(&[("uid", "4294967296")]), file("a", "x")], Rule::Owner);
    refused(&[pax(&[("gid", "65536")]), file("a", "x")], Rule::Owner);
}

#[test]
fn what_is_no_archive_is_told_so() {
    let limits = UnpackLimits::default();
    let rule = |bytes: &[u8]| unpack(bytes, &limits).0.unwrap_err().rule();
    let whole = archive(&[file("a", "x".repeat(3000))]);
    assert_eq!(rule(b""), Some(Rule::Empty));
    assert_eq!(rule(&[0; 1024]), Some(Rule::Empty));
    assert_eq!(rule(b"hello"), Some(Rule::Truncated));
    assert_eq!(rule(&b"PK\x03\x04".repeat(500)), Some(Rule::Format));
    assert_eq!(rule(&whole[..1000]), Some(Rule::Truncated));
    assert_eq!(rule(&whole[..whole.len() - 1024]), Some(Rule::Truncated), "cut between two entries");
    assert_eq!(rule(&gzip(&whole)[..40]), Some(Rule::Truncated));
    assert_eq!(rule(&zstd::encode_all(&whole[..], 3).unwrap()[..40]), Some(Rule::Truncated));
    let mut damaged = gzip(&whole);
    let end = damaged.len() - 6;
    damaged[end] ^= 1;
    assert_eq!(rule(&damaged), Some(Rule::Format), "the checksum stands behind the last file");
}
