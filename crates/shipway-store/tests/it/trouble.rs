//! Full, locked, read-only, damaged, abandoned: each is said in plain words, and
//! each is over when its cause is.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use shipway_model::{TaskPayload, TaskState};
use shipway_store::{OpenError, Store, StoreError};
use sqlx::Connection;

use crate::child::{Other, say};
use crate::world::*;

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
    assert_eq!(unavailable(store.claim("worker", LONG).await), FULL);
    assert!(store.find_task(first.task).await.unwrap().is_some(), "reading goes on");

    std::fs::remove_file(&filler).unwrap();
    drop(file);
    store.check_writable().await.unwrap();
    store.request(first_deploy("later")).await.unwrap();
    assert_whole(&store, accepted + 2).await;
    let lease = store.claim("worker", LONG).await.unwrap().unwrap();
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
    let mut other = Other::start("lock", &world.path());
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

#[tokio::test]
async fn a_row_that_makes_no_sense_is_an_error_and_no_panic() {
    let spoilt = [
        "UPDATE service SET state = 'sleepy'",
        "UPDATE service SET state = 'live', release = NULL",
        "UPDATE service SET state = 'live', release = -1",
        "UPDATE service SET state = 'unhealthy', reason = NULL",
        "UPDATE service SET wanted = 'maybe'",
        "UPDATE service SET version = -1",
        "UPDATE service SET project = ''",
        "UPDATE service SET name = 'Not A Label'",
        "UPDATE service SET id = 'x' || id",
        "UPDATE service SET reason = CAST(x'ff' AS TEXT), state = 'failed'",
    ];
    for sql in spoilt {
        let world = world().await;
        let accepted = world.ask_first("hello").await;
        world.spoil("PRAGMA ignore_check_constraints = ON").await;
        world.spoil(sql).await;
        for result in [
            world.list_all_services(None, 10).await.map(drop),
            world.list_services(&default_project(), None, 10).await.map(drop),
            world.request(first_deploy("hello")).await.map(drop),
        ] {
            match result {
                Err(StoreError::Corrupt(_)) => {}
                // Where the damage hides the row from this question.
                Ok(()) if sql.contains("project") || sql.contains("name") => {}
                other => panic!("{sql}: {other:?}"),
            }
        }
        let lease = world.claim("worker", LONG).await.unwrap();
        assert_eq!(lease.map(|lease| lease.task.id), Some(accepted.task), "{sql}");
        world.spoil("DELETE FROM service").await;
        world.ask_first("hello").await;
    }
}

#[tokio::test]
async fn a_damaged_task_is_an_error_for_who_asks_and_no_obstacle_for_others() {
    for sql in [
        "UPDATE task SET payload = '{'",
        "UPDATE task SET subject = 'nobody'",
        "UPDATE task SET project = 'No Label'",
        "UPDATE task SET attempt = -5",
        "UPDATE task SET attempt = 9000000000",
    ] {
        let world = world().await;
        let accepted = world.ask_first("hello").await;
        world.spoil(sql).await;
        let found = world.find_task(accepted.task).await;
        assert!(matches!(found, Err(StoreError::Corrupt(_))), "{sql}: {found:?}");
        let waited = world.wait_task(accepted.task, LIMIT).await;
        assert!(matches!(waited, Err(StoreError::Corrupt(_))), "{sql}: {waited:?}");
        let next = world.ask_first("next").await;
        assert_eq!(world.take().await.task.id, next.task, "{sql}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_leaves_nothing_half() {
    let world = world().await;
    let mut went = 0;
    for round in 0..60 {
        let of = format!("service-{round}");
        if poll_times(world.request(first_deploy(&of)), round % 4).await.is_none() {
            went += 1;
        }
        // The next one does not suffer from it.
        world.ask_first("survivor").await;
        let lease = world.take().await;
        world.finish(&lease, &done(None)).await.unwrap();
    }
    assert!(went > 15, "{went} went away");
    for service in world.list_all_services(None, 1000).await.unwrap() {
        let story = world.story(service.id).await;
        assert_eq!(story[0], "deploy asked");
    }
    let mut db = world.stranger().await;
    let tasks: i64 = sqlx::query_scalar("SELECT count(DISTINCT subject) FROM task").fetch_one(&mut db).await.unwrap();
    assert_eq!(tasks, i64::try_from(world.list_all_services(None, 1000).await.unwrap().len()).unwrap());
}

/// The other branch of a `select!` is still there, but nobody polls it while this
/// one waits.
#[tokio::test]
async fn a_caller_that_is_not_polled_does_not_keep_the_only_writer() {
    let world = world().await;
    for polls in 1..20 {
        let of = format!("suspended-{polls}");
        let mut suspended = std::pin::pin!(world.request(first_deploy(&of)));
        if let Some(early) = poll_times(suspended.as_mut(), polls).await {
            early.unwrap();
            continue;
        }
        let started = std::time::Instant::now();
        world.ask_first(&format!("other-{polls}")).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        suspended.await.unwrap();
    }
}

/// Polls a future so many times, each time after it asked for it, then drops it.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    world.close().await;
    assert_eq!(unavailable(world.request(first_deploy("more")).await), "it is closed");
    assert_eq!(unavailable(world.check_writable().await.and(world.find_task(accepted.task).await)), "it is closed");
    let store = Store::open(&world.path()).await.unwrap();
    let task = store.find_task(accepted.task).await.unwrap().unwrap();
    assert!(matches!(task.state, TaskState::Queued { .. }));
}
