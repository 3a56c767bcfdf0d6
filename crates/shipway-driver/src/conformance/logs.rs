//! Logs: everything once, in order, from anywhere, and as it comes.

use std::time::Duration;

use futures_util::StreamExt;
use shipway_model::ContainerId;

use super::{Candidate, Script, within};
use crate::{LogLine, LogQuery, LogStream};

/// More lines than one segment of any driver under test would make awkward.
const LINES: u32 = 200;

/// Tail, since and a cursor each give exactly the lines they name.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn logs_can_be_read_from_anywhere(candidate: &Candidate) {
    let container = candidate.start(&Script::Print(LINES)).await;
    candidate.ended(container).await;
    let all = read(candidate, container, LogQuery::default()).await;
    let out = |lines: &[LogLine]| -> Vec<String> {
        lines.iter().filter(|line| line.stream == LogStream::Stdout).map(|line| line.text.clone()).collect()
    };
    assert_eq!(out(&all), expected(1));
    let errors: Vec<&str> =
        all.iter().filter(|line| line.stream == LogStream::Stderr).map(|line| line.text.as_str()).collect();
    assert_eq!(errors, ["done"]);
    assert!(all.is_sorted_by_key(|line| line.cursor), "cursors rise");

    let tail = LogQuery { tail: Some(5), ..LogQuery::default() };
    assert_eq!(read(candidate, container, tail).await, all[all.len() - 5..]);
    for place in [0, 100, all.len() - 1] {
        let after = LogQuery { after: Some(all[place].cursor), ..LogQuery::default() };
        assert_eq!(read(candidate, container, after).await, all[place + 1..]);
    }
    let since = LogQuery { since: Some(all[150].at), ..LogQuery::default() };
    let from = all.iter().position(|line| line.at >= all[150].at);
    assert_eq!(read(candidate, container, since).await, all[from.expect("line 150 itself")..]);
    candidate.clear(container).await;
}

/// A follower sees what was there, waits for what comes, and ends with the container.
///
/// # Panics
///
/// When the driver fails the exam.
pub async fn logs_can_be_followed(candidate: &Candidate) {
    let container = candidate.start(&Script::PrintAndStay(LINES)).await;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = candidate.driver.logs(container, query).await.expect("a running container has a log");
    let mut texts = Vec::new();
    while texts.len() < LINES as usize {
        let line = within(stream.next()).await.expect("the follower goes on");
        texts.push(line.expect("the log can be read").text);
    }
    assert_eq!(texts, expected(1));
    within(candidate.driver.stop(container, Duration::from_secs(10))).await.expect("it stops");
    let end = within(stream.next()).await;
    assert!(end.is_none(), "the stream ends with the container: {end:?}");
    candidate.clear(container).await;
}

/// Waits for the first line: the program runs and has set its traps.
pub(super) async fn first_line(candidate: &Candidate, container: ContainerId) {
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = candidate.driver.logs(container, query).await.expect("it has a log");
    let line = within(stream.next()).await.expect("it prints a line");
    assert_eq!(line.expect("the log can be read").text, "ready");
}

async fn read(candidate: &Candidate, container: ContainerId, query: LogQuery) -> Vec<LogLine> {
    let stream = candidate.driver.logs(container, query).await;
    let lines: Vec<_> = within(stream.expect("it has a log").collect()).await;
    lines.into_iter().map(|line| line.expect("the log can be read")).collect()
}

fn expected(from: u32) -> Vec<String> {
    (from..=LINES).map(|n| format!("line {n}")).collect()
}
