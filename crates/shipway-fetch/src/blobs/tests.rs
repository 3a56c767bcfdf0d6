use super::*;

async fn keep(blobs: &Blobs, content: &[u8]) -> Result<Blob, BlobError> {
    let mut writer = blobs.begin(100).await?;
    for piece in content.chunks(7) {
        writer.write(piece).await?;
    }
    writer.finish().await
}

fn partial(root: &Path) -> usize {
    fs::read_dir(root.join(PARTIAL)).unwrap().count()
}

#[tokio::test]
async fn content_is_found_by_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let blob = keep(&blobs, b"hello world").await.unwrap();
    assert_eq!(blob.digest.to_string(), "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    assert_eq!(fs::read(blobs.path(&blob.digest)).unwrap(), b"hello world");
    assert_eq!(keep(&blobs, b"hello world").await.unwrap(), blob, "again is the same");
    assert_eq!(blobs.find(&blob.digest), Some(blob.clone()));
    assert_eq!(partial(folder.path()), 0);
    blobs.remove(&blob.digest).unwrap();
    blobs.remove(&blob.digest).unwrap();
    assert!(!blobs.contains(&blob.digest));
}

#[tokio::test]
async fn what_is_too_large_or_given_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    assert!(matches!(keep(&blobs, &[0; 101]).await, Err(BlobError::TooLarge { limit: 100 })));
    let mut writer = blobs.begin(100).await.unwrap();
    writer.write(b"half").await.unwrap();
    assert_eq!(partial(folder.path()), 1);
    drop(writer);
    assert_eq!(partial(folder.path()), 0);
    assert_eq!(fs::read_dir(folder.path().join("sha256")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_removed_and_a_living_ones_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let mut writer = blobs.begin(100).await.unwrap();
    writer.write(b"hal").await.unwrap();
    // No process has this number: it is past the kernel's largest.
    File::create(folder.path().join(PARTIAL).join("4194305.0")).unwrap();
    // Our own number, but from before we lived: another process had it.
    let before = File::create(folder.path().join(PARTIAL).join(format!("{}.77", std::process::id()))).unwrap();
    before.set_modified(std::time::UNIX_EPOCH).unwrap();
    let again = Blobs::open(folder.path()).unwrap();
    assert_eq!(partial(folder.path()), 1);
    writer.write(b"f").await.unwrap();
    assert!(again.contains(&writer.finish().await.unwrap().digest));
}

/// An hour ago, and the day before.
fn ago(hours: u64) -> SystemTime {
    SystemTime::now() - std::time::Duration::from_secs(hours * 3600)
}

fn age(blobs: &Blobs, digest: &Digest, hours: u64) {
    File::open(blobs.path(digest)).unwrap().set_modified(ago(hours)).unwrap();
}

#[tokio::test]
async fn what_was_touched_stays_and_what_came_again_was_touched() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let one = keep(&blobs, b"one").await.unwrap();
    assert!(!blobs.remove_untouched(&one.digest, ago(1)).unwrap(), "it came just now");
    age(&blobs, &one.digest, 24);
    let listed = blobs.list_touched().unwrap();
    assert_eq!((listed.len(), &listed[0].blob), (1, &one));
    assert!(listed[0].touched_at < ago(23));
    assert_eq!(blobs.touch(&one.digest).unwrap(), Some(one.clone()));
    assert!(!blobs.remove_untouched(&one.digest, ago(1)).unwrap());
    age(&blobs, &one.digest, 24);
    keep(&blobs, b"one").await.unwrap();
    assert!(!blobs.remove_untouched(&one.digest, ago(1)).unwrap(), "uploaded again");
    age(&blobs, &one.digest, 24);
    assert!(blobs.remove_untouched(&one.digest, ago(1)).unwrap());
    assert!(!blobs.remove_untouched(&one.digest, ago(1)).unwrap(), "nobody removes it twice");
    assert_eq!(blobs.touch(&one.digest).unwrap(), None, "who comes too late hears so");
}

#[tokio::test]
async fn whoever_has_touched_a_blob_has_it_however_close_the_removal() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    // As another process has it open.
    let others = Blobs::open(folder.path()).unwrap();
    for round in 0..200 {
        let blob = keep(&blobs, b"contended").await.unwrap();
        age(&blobs, &blob.digest, 24);
        let start = std::sync::Barrier::new(2);
        let (touched, removed) = std::thread::scope(|scope| {
            let toucher = scope.spawn(|| {
                start.wait();
                blobs.touch(&blob.digest).unwrap().is_some()
            });
            start.wait();
            let removed = others.remove_untouched(&blob.digest, ago(1)).unwrap();
            (toucher.join().unwrap(), removed)
        });
        assert!(touched != removed, "round {round}: one of the two, never both");
        assert_eq!(blobs.contains(&blob.digest), touched);
    }
}

#[tokio::test]
async fn damage_is_seen_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let blob = keep(&blobs, b"hello world").await.unwrap();
    let other = keep(&blobs, b"other").await.unwrap();
    assert!(blobs.verify(&blob.digest).unwrap());
    let mut listed = vec![blob.clone(), other];
    listed.sort_by(|a, b| a.digest.cmp(&b.digest));
    assert_eq!(blobs.list().unwrap(), listed);
    let path = blobs.path(&blob.digest);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o7777, 0o444);
    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap();
    assert!(!blobs.verify(&blob.digest).unwrap());
    keep(&blobs, b"hello world").await.unwrap();
    assert!(blobs.verify(&blob.digest).unwrap());
    let mut text = String::new();
    io::Read::read_to_string(&mut blobs.open_content(&blob.digest).unwrap(), &mut text).unwrap();
    assert_eq!(text, "hello world");
    assert_eq!(blobs.verify(&Digest::from_sha256([0; 32])).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, Some(c"size=64k")).unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let mut writer = blobs.begin(1 << 20).await.unwrap();
    let mut result = Ok(());
    for _ in 0..100 {
        result = writer.write(&[1; 4096]).await;
        if result.is_err() {
            break;
        }
    }
    drop(writer);
    let left = partial(folder.path());
    let recovered = keep(&blobs, b"small").await;
    rustix::mount::mount_remount(folder.path(), rustix::mount::MountFlags::RDONLY, "").unwrap();
    let read_only = keep(&blobs, b"more").await;
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    let says = |error: BlobError| error.to_string();
    assert_eq!(says(result.unwrap_err()), "content cannot be stored now: the disk is full");
    assert_eq!(left, 0);
    assert!(recovered.is_ok(), "{recovered:?}");
    assert_eq!(says(read_only.unwrap_err()), "content cannot be stored now: the disk is read-only");
}
