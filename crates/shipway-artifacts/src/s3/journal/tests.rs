//! A journal is gone on with when it is of the same upload, as far as it was written.

use super::*;

fn head(key: &str) -> Head {
    Head::new("http://s3/farm", key, 100, 8)
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("caddy")
}

#[test]
fn it_is_gone_on_with_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&file(&folder), head("k"));
    journal.begin("id-1".to_owned());
    journal.arrived(3, "\"tag 3\"".to_owned());
    journal.arrived(0, "\"tag 0\"".to_owned());
    drop(journal);
    let again = Journal::open(&file(&folder), head("k"));
    assert_eq!(again.head.upload, "id-1");
    assert_eq!(again.parts, BTreeMap::from([(0, "\"tag 0\"".to_owned()), (3, "\"tag 3\"".to_owned())]));
    again.finish();
    assert!(!file(&folder).with_extension("upload").exists());
}

#[test]
fn a_journal_of_another_upload_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&file(&folder), head("k"));
    journal.begin("id-1".to_owned());
    journal.arrived(0, "t".to_owned());
    drop(journal);
    let mut other = Journal::open(&file(&folder), head("other"));
    assert!(other.head.upload.is_empty() && other.parts.is_empty());
    other.begin("id-2".to_owned());
    drop(other);
    let again = Journal::open(&file(&folder), head("other"));
    assert_eq!((again.head.upload.as_str(), again.parts.len()), ("id-2", 0));
}

#[test]
fn what_was_cut_off_or_is_nonsense_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder).with_extension("upload");
    let mut journal = Journal::open(&file(&folder), head("k"));
    journal.begin("id-1".to_owned());
    journal.arrived(0, "tag 0".to_owned());
    journal.arrived(1, "tag 1".to_owned());
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        File::create(&path).unwrap().write_all(&whole[..cut]).unwrap();
        let found = Journal::open(&file(&folder), head("k"));
        let arrived: Vec<_> = found.parts.into_iter().collect();
        assert!([(0, "tag 0".to_owned()), (1, "tag 1".to_owned())].starts_with(&arrived), "{cut}: {arrived:?}");
        if found.head.upload.is_empty() {
            continue;
        }
        drop(found.file);
        let mut again = Journal::open(&file(&folder), head("k"));
        again.arrived(7, "tag 7".to_owned());
        drop(again);
        let found = Journal::open(&file(&folder), head("k"));
        assert!(found.parts.contains_key(&7) && found.parts.len() == arrived.len() + 1, "{cut}: {found:?}");
    }
    File::create(&path).unwrap().write_all(b"\xff\0{}[]\n\n{\"part\":-1}").unwrap();
    assert!(Journal::open(&file(&folder), head("k")).head.upload.is_empty());
}

#[test]
fn two_that_put_one_file_do_not_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Journal::open(&file(&folder), head("k"));
    first.begin("id-1".to_owned());
    let mut second = Journal::open(&file(&folder), head("k"));
    assert!(second.head.upload.is_empty());
    second.begin("id-2".to_owned());
    second.arrived(0, "t".to_owned());
    drop((first, second));
    let found = Journal::open(&file(&folder), head("k"));
    assert_eq!((found.head.upload.as_str(), found.parts.len()), ("id-1", 0));
}

#[test]
fn where_none_can_be_written_it_goes_without() {
    let mut journal = Journal::open(Path::new("/proc/no/such"), head("k"));
    journal.begin("id".to_owned());
    journal.arrived(0, "t".to_owned());
    assert_eq!((journal.head.upload.as_str(), journal.parts.len()), ("id", 1));
}

#[test]
fn one_that_was_gone_on_with_in_vain_is_worn_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&file(&folder), head("k"));
    journal.begin("id-1".to_owned());
    drop(journal);
    for time in 1..=5 {
        assert_eq!(Journal::open(&file(&folder), head("k")).is_worn_out(), time > 3, "{time}");
    }
    let mut journal = Journal::open(&file(&folder), head("k"));
    journal.reset();
    journal.begin("id-2".to_owned());
    drop(journal);
    assert!(!Journal::open(&file(&folder), head("k")).is_worn_out());
}
