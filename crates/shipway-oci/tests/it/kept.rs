//! What an unpacked tree keeps, and what is dropped and counted.

use shipway_oci::{UnpackLimits, pack};

use crate::craft::*;

#[test]
fn mode_owner_time_and_content_are_kept() {
    let entries = [
        folder("./").mode(0o750).uid(7),
        folder("d/").mode(0o1777),
        pax(&[("mtime", "-5.5"), ("uid", "65535"), ("path", "d/é")]),
        file("ignored", "hello").mode(0o755),
        symlink("l", "/nowhere/at all"),
        hard_link("h", "d/é"),
        hard_link("hl", "l"),
        Entry::new(0, "old/").mode(0o700),
        Entry::new(0, "old/file").body("v7"),
        Entry::new(b'7', "contiguous").body("c"),
        file("implied/folder/f", ""),
    ];
    let (done, lines) = taken(&entries);
    assert_eq!((done.bytes, done.set_id_dropped, done.attributes_dropped), (13, 0, 0));
    assert_eq!(
        lines,
        [
            " 0750 7:0 10 /",
            "contiguous 0644 0:0 10 \"c\"",
            "d 1777 0:0 10 /",
            "d/é 0755 65535:0 -6 \"hello\"",
            "h 0755 65535:0 -6 \"hello\"",
            "hl 0777 0:0 10 -> /nowhere/at all",
            "implied 0755 0:0 0 /",
            "implied/folder 0755 0:0 0 /",
            "implied/folder/f 0644 0:0 10 \"\"",
            "l 0777 0:0 10 -> /nowhere/at all",
            "old 0700 0:0 10 /",
            "old/file 0644 0:0 10 \"v7\"",
        ]
    );
}

#[test]
fn set_id_bits_and_attributes_are_dropped_and_counted() {
    let entries = [
        file("su", "x").mode(0o4755),
        folder("mail").mode(0o2775),
        pax(&[("SCHILY.xattr.security.capability", "x"), ("SCHILY.acl.access", "user::rwx"), ("comment", "hi")]),
        file("ping", "x").mode(0o755),
    ];
    let (done, lines) = taken(&entries);
    assert_eq!((done.set_id_dropped, done.attributes_dropped), (2, 2));
    let of =
        |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!((of("su "), of("mail "), of("ping ")), ("0755".to_owned(), "0775".to_owned(), "0755".to_owned()));
}

#[test]
fn the_last_of_two_files_with_one_name_stays() {
    let (_, lines) = taken(&[file("a", "old").mode(0o600), hard_link("b", "a"), file("a", "new")]);
    assert_eq!(lines[1..], ["a 0644 0:0 10 \"new\"", "b 0600 0:0 10 \"old\""]);
}

#[test]
fn the_wrapping_is_known_by_its_first_bytes() {
    let plain = archive(&[file("a", "hello"), symlink("b", "a")]);
    let limits = UnpackLimits::default();
    let (done, lines) = unpack(&plain, &limits);
    let done = done.unwrap();
    let members = [gzip(&plain[..700]), gzip(&plain[700..])].concat();
    let frames = [&plain[..700], &plain[700..]].map(|part| zstd::encode_all(part, 3).unwrap()).concat();
    for wrapped in [gzip(&plain), zstd::encode_all(&plain[..], 19).unwrap(), members, frames] {
        let (again, same) = unpack(&wrapped, &limits);
        assert_eq!((again.unwrap(), same), (done, lines.clone()));
    }
}

#[test]
fn a_packed_directory_unpacks_to_itself() {
    let home = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let entries = [
        folder("./").mode(0o711),
        pax(&[("path", &long), ("uid", "12")]),
        file("x", "deep").mode(0o640),
        file("sealed", "secret").mode(0),
        symlink("out", "/etc/passwd"),
        pax(&[("linkpath", &"t".repeat(300))]),
        symlink("far", "x"),
        folder("empty").mode(0o1777),
    ];
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    shipway_oci::unpack(&archive(&entries)[..], &tree, &UnpackLimits::default()).unwrap();
    let mut packed = Vec::new();
    let told = pack(&tree, &mut packed, &UnpackLimits::default()).unwrap();
    assert_eq!((told.entries, told.bytes), (7, 10));
    let (_, again) = unpack(&packed, &UnpackLimits::default());
    assert_eq!(again, tell(&tree));
}

#[test]
fn a_directory_with_special_files_is_refused_as_its_archive_would_be() {
    let home = tempfile::tempdir().unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let pipe =
        |name: &str| rustix::fs::mknodat(rustix::fs::CWD, home.path().join(name), rustix::fs::FileType::Fifo, mode, 0);
    std::fs::create_dir(home.path().join("dev")).unwrap();
    pipe("dev/initctl").unwrap();
    let told = pack(home.path(), std::io::sink(), &UnpackLimits::default()).unwrap();
    assert_eq!(told.devices_left_out, 1);
    pipe("pipe").unwrap();
    let error = pack(home.path(), std::io::sink(), &UnpackLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "refused by rule `special`: pipe: there are no pipes and sockets");
    std::fs::remove_file(home.path().join("pipe")).unwrap();
    let few = UnpackLimits { entries_max: 1, ..UnpackLimits::default() };
    assert_eq!(pack(home.path(), std::io::sink(), &few).unwrap_err().rule().unwrap().word(), "entries");
}
