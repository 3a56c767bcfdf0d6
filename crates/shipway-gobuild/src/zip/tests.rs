use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::testing::archive;

fn sound() -> Vec<u8> {
    archive(vec![("m@v1.0.0/a.go".into(), b"package a\n".to_vec()), ("m@v1.0.0/b/b.go".into(), vec![b'x'; 5000])])
}

#[test]
fn files_come_out_as_they_went_in() {
    let mut archive = Archive::open(Cursor::new(sound())).unwrap();
    let entries = archive.entries().to_vec();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["m@v1.0.0/a.go", "m@v1.0.0/b/b.go"]);
    assert_eq!(archive.read(&entries[0], 100).unwrap(), b"package a\n");
    assert_eq!(archive.read(&entries[1], 5000).unwrap(), vec![b'x'; 5000]);
    assert!(archive.read(&entries[1], 4999).is_err());
}

#[test]
fn a_file_that_is_not_what_the_list_says_is_refused() {
    let bytes = sound();
    let list = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    // In the list: the checksum, the size, the place; then a byte of the content.
    for at in [list + 16, list + 24, list + 42, 45] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let mut archive = Archive::open(Cursor::new(changed)).unwrap();
        let first = archive.entries()[0].clone();
        assert!(archive.read(&first, 1 << 20).is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn nothing_in_an_archive_breaks_the_reader(at in 0..400_usize, bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        let mut changed = sound();
        let end = (at + bytes.len()).min(changed.len());
        let start = at.min(end);
        changed.splice(start..end, bytes);
        if let Ok(mut archive) = Archive::open(Cursor::new(changed)) {
            for entry in archive.entries().to_vec() {
                drop(archive.read(&entry, 1 << 20));
            }
        }
    }

    #[test]
    fn nor_do_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in any::<u64>()) {
        drop(locate(&bytes, size));
        drop(list(&bytes));
    }
}
