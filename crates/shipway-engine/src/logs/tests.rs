//! Logs as a shim writes them, read while they grow and rotate.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::Exited;

/// A log, written as a shim does.
struct Log {
    folder: TempDir,
    watcher: Watcher,
    phase: watch::Sender<Phase>,
    clock: i64,
}

impl Log {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            watcher: Watcher::start().unwrap(),
            phase: watch::Sender::new(Phase::Created),
            clock: 1_700_000_000_000_000,
        }
    }

    fn raw(&self, segment: u64, bytes: &[u8]) {
        let path = self.folder.path().join(format!("{segment:08}.log"));
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap().write_all(bytes).unwrap();
    }

    fn line(&mut self, segment: u64, text: &str) {
        self.clock += 1;
        let time = shipway_stdx::clock::rfc3339(self.clock);
        self.raw(segment, format!("{time} stdout F {text}\n").as_bytes());
    }

    fn lines(&mut self, segment: u64, numbers: std::ops::Range<u32>) {
        for n in numbers {
            self.line(segment, &n.to_string());
        }
    }

    fn end(&self) {
        self.phase.send_replace(Phase::Exited(Exited::lost()));
    }

    async fn read(&self, query: LogQuery) -> Vec<LogLine> {
        let stream = self.stream(query).await;
        stream.map(|line| line.unwrap()).collect().await
    }

    async fn stream(&self, query: LogQuery) -> impl Stream<Item = io::Result<LogLine>> + use<> {
        let phase = self.phase.subscribe();
        read(self.folder.path(), query, &self.watcher, phase).await.unwrap().boxed()
    }

    /// What a query gives, as text.
    async fn check(&self, query: LogQuery, expected: &str) {
        let texts: Vec<String> = self.read(query).await.into_iter().map(|l| l.text).collect();
        assert_eq!(texts.join(" "), expected);
    }
}

fn tail(records: usize) -> LogQuery {
    LogQuery { tail: Some(records), ..LogQuery::default() }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes soon")
}

#[tokio::test]
async fn segments_are_read_in_order() {
    let mut log = Log::new();
    log.check(LogQuery::default(), "").await;
    log.lines(9, 1..3);
    log.lines(10, 3..5);
    log.raw(10, b"2026-01-01T00:00:00Z stdout F half");
    log.check(LogQuery::default(), "1 2 3 4").await;
    log.raw(10, b" whole\nrubbish\n\n");
    log.check(LogQuery::default(), "1 2 3 4 half whole").await;
}

#[tokio::test]
async fn a_tail_reaches_over_segments() {
    let mut log = Log::new();
    log.lines(0, 0..3);
    log.lines(1, 3..5);
    log.lines(2, 5..6);
    log.check(tail(0), "").await;
    log.check(tail(1), "5").await;
    log.check(tail(2), "4 5").await;
    log.check(tail(4), "2 3 4 5").await;
    log.check(tail(100), "0 1 2 3 4 5").await;
}

#[tokio::test]
async fn a_tail_of_long_segments_reads_only_the_end() {
    let mut log = Log::new();
    log.lines(0, 0..10_000);
    log.check(tail(3), "9997 9998 9999").await;
    let all = log.read(tail(9_999)).await;
    assert_eq!((all.len(), all[0].text.as_str()), (9_999, "1"));
}

#[tokio::test]
async fn every_cursor_goes_on_where_it_says() {
    let mut log = Log::new();
    log.lines(3, 0..50);
    log.lines(4, 50..60);
    let all = log.read(LogQuery::default()).await;
    for (place, line) in all.iter().enumerate() {
        let query = LogQuery { after: Some(line.cursor), ..LogQuery::default() };
        assert_eq!(log.read(query).await, all[place + 1..]);
        let query = LogQuery { since: Some(line.at), ..LogQuery::default() };
        assert_eq!(log.read(query).await, all[place..]);
    }
    let dropped = LogQuery { after: Some(Cursor { segment: 1, offset: 999 }), ..LogQuery::default() };
    assert_eq!(log.read(dropped).await, all, "its segment was dropped");
}

#[tokio::test]
async fn a_follower_sees_what_comes_through_every_rotation() {
    let mut log = Log::new();
    log.lines(0, 0..2);
    let query = LogQuery { follow: true, tail: Some(1), ..LogQuery::default() };
    let mut stream = log.stream(query).await;
    let mut next = async || soon(stream.next()).await.unwrap().unwrap().text;
    assert_eq!(next().await, "1");
    log.line(0, "more");
    assert_eq!(next().await, "more");
    log.line(0, "last of its segment");
    log.line(1, "first of the next");
    assert_eq!(next().await, "last of its segment");
    assert_eq!(next().await, "first of the next");
    log.raw(1, b"2026-01-01T00:00:00Z stderr F in ");
    log.raw(1, b"two writes\n");
    assert_eq!(next().await, "in two writes");
    // The segment it stands in and the next are dropped before it reads them.
    log.line(2, "never seen");
    std::fs::remove_file(log.folder.path().join("00000002.log")).unwrap();
    log.line(3, "after a gap");
    let mut text = next().await;
    if text == "never seen" {
        text = next().await;
    }
    assert_eq!(text, "after a gap");
    log.line(3, "the end");
    log.end();
    assert_eq!(next().await, "the end");
    assert!(soon(stream.next()).await.is_none());
}

#[tokio::test]
async fn many_followers_share_one_watch() {
    let mut log = Log::new();
    log.line(0, "first");
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut streams = Vec::new();
    for _ in 0..300 {
        streams.push(log.stream(query.clone()).await);
    }
    log.line(0, "second");
    log.end();
    for stream in &mut streams {
        let texts: Vec<_> = soon(stream.map(|l| l.unwrap().text).collect::<Vec<_>>()).await;
        assert_eq!(texts, ["first", "second"]);
    }
}

#[tokio::test]
async fn endless_rubbish_is_passed_over() {
    let mut log = Log::new();
    log.raw(0, &vec![b'x'; 600 * 1024]);
    log.raw(0, b"\n");
    log.line(0, "after");
    log.check(LogQuery::default(), "after").await;
}

#[tokio::test]
async fn a_log_that_was_removed_ends() {
    let log = Log::new();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = log.stream(query).await;
    drop(log.phase);
    assert!(soon(stream.next()).await.is_none());
    assert!(Path::exists(log.folder.path()));
}
