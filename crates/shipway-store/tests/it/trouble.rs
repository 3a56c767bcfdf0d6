//! SQLite's file full, locked, read-only: each is said in plain words, and each is over
//! when its cause is.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use shipway_model::TaskPayload;
use shipway_store::{OpenError, Store};
use sqlx::Connection;

use crate::sqlite::child::{Other, say};
use crate::sqlite::world::*;

const FULL: &str = "the disk is full, or the database has reached its largest size";

/// Asks for deploys until one is refused; returns how many were accepted, and why
/// no more were.
async fn ask_until_refused(store: &Store, of: &str) -> (usize, String) {
    for accepted in 0..10_000 {
        let mut request = first_deploy(&format!("{of}-{accepted}"));
        request.actor = "somebody ".repeat(200);
        match store.request(request).await {
            Ok(_) => {}
            Err(error) => return (accepted, unavailable::<()>(Err(error))),
        }
    }
    panic!("never refused");
}

/// Every service that was accepted is there with its task, and no other is.
async fn assert_whole(store: &Store, accepted: usize) {
    let counts = store.service_counts().await.unwrap();
    assert_eq!(counts.iter().map(|count| count.services).sum::<u64>(), accepted as u64);
    assert_eq!(store.task_counts().await.unwrap().queued, accepted as u64);
    for service in store.list_all_services(None, 1000).await.unwrap() {
        let events = store.list_events(&format!("service/{}", service.id), 0, 10).await.unwrap();
        assert_eq!(events.len(), 1);
    }
}

#[tokio::test]
async fn a_database_at_its_largest_size_says_so_and_recovers() {
    let world = world().await;
    world.limit_pages(Some(60)).await.unwrap();
    let (accepted, reason) = ask_until_refused(&world, "first").await;
    assert_eq!(reason, FULL);
    assert!(accepted > 3, "{accepted}");
    assert_whole(&world, accepted).await;
    for _ in 0..3 {
        assert_eq!(ask_until_refused(&world, "again").await, (0, FULL.to_owned()));
    }
    world.limit_pages(None).await.unwrap();
    for of in ["a", "b"] {
        world.ask_first(of).await;
    }
    assert_whole(&world, accepted + 2).await;
    world.take().await;
}

/// A file system of the test's own, gone when it is dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(what: &[&str]) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(disk.path()).unwrap();
        disk.mount(what);
        disk
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn mount(&self, what: &[&str]) {
        run(Command::new("mount").args(what).arg(self.path()));
    }

    /// Takes it out of sight. Files that are open stay open.
    fn unmount(&self) {
        run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy", "--quiet"]).arg(self.path()).output());
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_full_disk_says_so_and_is_over_when_there_is_room() {
    let disk = Disk::new(&["-t", "tmpfs", "-o", "size=2m", "shipway-store-test"]);
    let store = Store::open(&disk.path().join("shipway.sqlite")).await.unwrap();
    let first = store.request(first_deploy("first")).await.unwrap();

    let filler = disk.path().join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    let mut size = 0;
    let mut fill_up = || {
        while file.write_at(&[7; 4096], size).is_ok() {
            size += 4096;
        }
    };
    fill_up();
    let (accepted, reason) = ask_until_refused(&store, "full").await;
    assert_eq!(reason, FULL);
    assert_whole(&store, accepted + 1).await;
    // What was too little for a request is still enough for a small write.
    fill_up();
    wait_until("the check notices", async || store.check_writable().await.is_err()).await;
    assert_eq!(unavailable(store.check_writable().await), FULL);
    assert_eq!(unavailable(store.claim(&who("worker"), LONG).await), FULL);
    assert!(store.find_task(first.task).await.unwrap().is_some(), "reading goes on");

    std::fs::remove_file(&filler).unwrap();
    drop(file);
    store.check_writable().await.unwrap();
    store.request(first_deploy("later")).await.unwrap();
    assert_whole(&store, accepted + 2).await;
    let lease = store.claim(&who("worker"), LONG).await.unwrap().unwrap();
    assert_eq!(lease.task.id, first.task);
    store.close().await;
}

/// What happens when a disk fails: the kernel makes the file system read-only
/// under us, and somebody copies what is on it to another and mounts that instead.
#[tokio::test]
async fn a_file_system_gone_read_only_says_so_and_is_over_when_another_is_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&image));
    let disk = Disk::new(&["-o", "loop,errors=remount-ro", image.to_str().unwrap()]);
    let store = Store::open(&disk.path().join("shipway.sqlite")).await.unwrap();
    let first = store.request(first_deploy("first")).await.unwrap();
    store.list_routes().await.unwrap();

    break_file_system(&disk.path());
    for _ in 0..3 {
        let reason = unavailable(store.request(first_deploy("second")).await);
        assert!(["it is read-only", "the disk failed to read or write"].contains(&&*reason), "{reason}");
    }
    assert_eq!(unavailable(store.request(first_deploy("second")).await), "it is read-only");
    let service = store.find_service_by_id(first.service.id).await.unwrap();
    assert_eq!(service, Some(first.service.clone()), "reading goes on");
    let refused = Store::open(&disk.path().join("shipway.sqlite")).await;
    assert!(matches!(refused, Err(OpenError::Open { .. })), "{refused:?}");

    disk.unmount();
    let away = unavailable(store.request(first_deploy("second")).await);
    assert!(["its file cannot be opened", "it is read-only"].contains(&&*away), "{away}");
    let copy = folder.path().join("copy");
    std::fs::copy(&image, &copy).unwrap();
    let repaired = Command::new("e2fsck").args(["-f", "-y"]).arg(&copy).output().unwrap();
    assert!(repaired.status.code() <= Some(1), "1 is: errors corrected; {repaired:?}");
    disk.mount(&["-o", "loop", copy.to_str().unwrap()]);
    let second = store.request(first_deploy("second")).await.unwrap();
    assert_eq!(store.find_service_by_id(second.service.id).await.unwrap(), Some(second.service));
    assert_eq!(store.list_routes().await.unwrap().len(), 2, "every reader sees the new file");
    assert_whole(&store, 2).await;
    store.close().await;
}

/// Tells ext4 to believe that it found an error (`/sys/fs/ext4/…/trigger_fs_error`).
fn break_file_system(mount: &Path) {
    let device = Command::new("findmnt").args(["-no", "SOURCE"]).arg(mount).output().unwrap().stdout;
    let device = String::from_utf8(device).unwrap();
    let device = device.trim().rsplit('/').next().unwrap();
    let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
    std::fs::OpenOptions::new().write(true).open(trigger).unwrap().write_at(b"1", 0).unwrap();
}

/// The child: holds the write lock until it is killed.
pub(crate) async fn hold_the_lock(path: &Path) {
    let mut db = connect(path).await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut db).await.unwrap();
    say("locked");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_lock_held_by_another_process_says_so_and_is_over_with_it() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let mut other = Other::start("lock", &world.place());
    assert_eq!(other.hear().as_deref(), Some("locked"));
    let started = std::time::Instant::now();
    let reason = unavailable(world.request(change(id, TaskPayload::Stop)).await);
    assert_eq!(reason, "it is locked by another process");
    assert!(started.elapsed() < Duration::from_secs(7), "the wait is bounded: {:?}", started.elapsed());
    assert_eq!(world.service(id).await.version, 1, "reading goes on");
    assert!(world.use_token([0; 32]).await.unwrap().is_none());
    other.kill();
    assert_eq!(world.ask(id, TaskPayload::Stop).await.service.version, 2);
}

#[tokio::test]
async fn a_short_lock_is_waited_for() {
    let world = world().await;
    let mut db = world.stranger().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut db).await.unwrap();
    let (accepted, ()) = tokio::join!(world.request(first_deploy("hello")), async {
        // The request is on its way when this runs, and meets the lock.
        let begun = world.now().await.unwrap();
        wait_until("a while is over", async || world.now().await.unwrap() > begun + 50_000).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut db).await.unwrap();
    });
    accepted.unwrap();
    db.close().await.unwrap();
}
