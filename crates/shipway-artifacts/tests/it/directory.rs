//! What only a directory can have: a full disk, damage, leftovers.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use shipway_artifacts::{ArtifactError, Artifacts, ArtifactsConfig, Stored};

use crate::fixtures::{MIB, World, collect, content};

/// A small file system in memory, gone with this.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(size: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        rustix::mount::mount("tmpfs", folder.path(), "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str())
            .expect("the tests run as root");
        Self(folder)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn root(world: &World) -> PathBuf {
    let ArtifactsConfig::Directory(root) = &world.config else { unreachable!() };
    root.clone()
}

fn path(root: &Path, stored: &Stored, suffix: &str) -> PathBuf {
    let hex = stored.digest.hex();
    root.join("artifacts/sha256").join(&hex[..2]).join(hex + suffix)
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn a_full_disk_is_transient_and_leaves_nothing() {
    let disk = Tmpfs::new(6 * MIB);
    let world = World::directory().await;
    let kept = disk.0.path().join("kept");
    let artifacts = Artifacts::open(&ArtifactsConfig::Directory(kept.clone())).await.unwrap();
    let error = artifacts.put(&world.file("large", &content(12 * MIB, 1))).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(files(&kept.join("partial")), 0);
    assert!(artifacts.list(None, 10).await.unwrap().kept.iter().all(|kept| !kept.whole));
    let small = content(2 * MIB, 2);
    let stored = artifacts.put(&world.file("small", &small)).await.unwrap();
    let (read, error) = collect(artifacts.read(&stored, None).await.unwrap()).await;
    assert!(error.is_none() && read == small, "{error:?}");
}

#[tokio::test]
async fn what_was_damaged_is_not_given_out_and_can_be_put_again() {
    let world = World::directory().await;
    let content = content(4 * MIB + 3, 3);
    let file = world.file("file", &content);
    let stored = world.artifacts.put(&file).await.unwrap();
    let kept = path(&root(&world), &stored, "");
    let mode = fs::metadata(&kept).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o400);

    let open = || fs::File::options().write(true).open(&kept).unwrap();
    open().write_all_at(&[content[2_500_000] ^ 1], 2_500_000).unwrap();
    let (read, error) = collect(world.artifacts.read(&stored, None).await.unwrap()).await;
    assert!(matches!(error, Some(ArtifactError::Damaged { .. })), "{error:?}");
    assert_eq!(read, content[..2 << 20]);
    // A part beside the damage is good.
    let (read, error) = collect(world.artifacts.read(&stored, Some(3 * MIB..4 * MIB)).await.unwrap()).await;
    assert!(error.is_none() && read == content[3 << 20..4 << 20], "{error:?}");

    // One that is too short is seen by the next put; of the other kind whoever was told gets rid.
    open().set_len(4 * MIB).unwrap();
    let error = world.artifacts.read(&stored, Some(4 * MIB - 1..4 * MIB + 1)).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Missing { .. }), "{error}");
    assert!(!world.artifacts.touch(&stored).await.unwrap());
    world.artifacts.put(&file).await.unwrap();
    fs::remove_file(path(&root(&world), &stored, ".chunks")).unwrap();
    assert!(!world.artifacts.touch(&stored).await.unwrap());
    world.artifacts.put(&file).await.unwrap();
    let (read, error) = collect(world.artifacts.read(&stored, None).await.unwrap()).await;
    assert!(error.is_none() && read == content, "{error:?}");
}

#[tokio::test]
async fn leftovers_go_and_what_is_being_written_stays() {
    let world = World::directory().await;
    let partial = root(&world).join("partial");
    let left = partial.join("left-by-a-killed-process");
    fs::File::create(&left).unwrap();
    let written = fs::File::create(partial.join("being-written")).unwrap();
    written.lock().unwrap();
    let swept = world.artifacts.sweep(std::time::Duration::ZERO).await.unwrap();
    assert_eq!((swept.ended, swept.listed), (1, true));
    assert!(!left.exists() && partial.join("being-written").exists());
}

#[tokio::test]
async fn what_somebody_put_there_is_left_alone() {
    let world = World::directory().await;
    let stored = world.artifacts.put(&world.file("file", b"content")).await.unwrap();
    let strange = path(&root(&world), &stored, "").with_file_name("README");
    fs::File::create(&strange).unwrap();
    fs::create_dir(root(&world).join("artifacts/sha256/zz")).unwrap();
    fs::File::create(root(&world).join("artifacts/sha256/zz/x")).unwrap();
    assert_eq!(world.artifacts.list(None, 10).await.unwrap().kept.len(), 1);
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    assert!(world.artifacts.remove_unless_touched(&stored.digest, future).await.unwrap());
    assert!(strange.exists());
}

#[tokio::test]
async fn a_place_that_cannot_be_is_named() {
    let world = World::directory().await;
    let file = world.file("file", b"no folder");
    let error = Artifacts::open(&ArtifactsConfig::Directory(file.join("below"))).await.unwrap_err();
    let ArtifactError::Refused { setting, .. } = &error else { panic!("{error}") };
    assert_eq!(*setting, "storage.local.path");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_put_is_refused() {
    let world = World::directory().await;
    let file = world.file("file", &content(3 * MIB, 1));
    let measured = shipway_artifacts::measure::measure(&file).await.unwrap();
    fs::File::options().write(true).open(&file).unwrap().write_all_at(b"x", 2 * MIB).unwrap();
    let error = world.artifacts.put_measured(&measured).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Local { .. }), "{error}");
    assert!(!world.artifacts.touch(&measured.stored).await.unwrap());
    assert_eq!(files(&root(&world).join("partial")), 0);
}
