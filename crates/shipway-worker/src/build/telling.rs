//! What a build says, on its way into the store: a few writes a second, whatever is said.

use std::time::Duration;

use shipway_gofarm::{BuildEvent, Source, What};
use shipway_model::EventKind;
use shipway_store::{Lease, Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// Lines are held for so long before they are written, so that many go together.
const HOLD: Duration = Duration::from_millis(500);

/// Lines of one event, and bytes of them.
const LINES_MAX: usize = 200;
const BYTES_MAX: usize = 32 << 10;

/// Before a store that was away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Lines of one step that wait to be written.
#[derive(Debug, Default)]
struct Held {
    step: String,
    lines: Vec<String>,
    bytes: usize,
    /// Whether the last one is not over yet.
    is_open: bool,
}

/// Writes all that is heard, until there is no more, or until the lease is lost.
pub(super) async fn tell(store: &Store, lease: &Lease, mut heard: mpsc::Receiver<BuildEvent>) {
    let mut held = Held::default();
    let mut until = Instant::now() + HOLD;
    loop {
        let event = if held.lines.is_empty() {
            heard.recv().await
        } else {
            match timeout_at(until, heard.recv()).await {
                Ok(event) => event,
                Err(_) => {
                    if !write(store, lease, held.take()).await {
                        return;
                    }
                    continue;
                }
            }
        };
        let Some(event) = event else { break };
        if held.lines.is_empty() {
            until = Instant::now() + HOLD;
        }
        for kind in held.take_in(event) {
            if !write(store, lease, kind).await {
                return;
            }
        }
    }
    write(store, lease, held.take()).await;
}

impl Held {
    /// Takes an event in; returns what is to be written now.
    fn take_in(&mut self, event: BuildEvent) -> Vec<EventKind> {
        let step = word(&event);
        let mut now = Vec::new();
        match event.what {
            What::Line { source, is_partial, text } => {
                if self.step != step {
                    now.extend(self.take_some());
                    self.step = step;
                }
                self.add(source, is_partial, text);
                if self.lines.len() >= LINES_MAX || self.bytes >= BYTES_MAX {
                    now.extend(self.take_some());
                }
            }
            What::Began => {
                now.extend(self.take_some());
                now.push(EventKind::BuildStep { step, ended: None, took_ms: None });
            }
            What::Ended { is_success, took_ms, .. } => {
                now.extend(self.take_some());
                let ended = Some(if is_success { "done" } else { "failed" }.to_owned());
                now.push(EventKind::BuildStep { step, ended, took_ms: Some(took_ms) });
            }
        }
        now
    }

    /// Pieces of one line become one again, up to what an event holds.
    fn add(&mut self, source: Source, is_partial: bool, text: String) {
        self.bytes += text.len();
        match self.lines.last_mut().filter(|_| self.is_open) {
            Some(last) => last.push_str(&text),
            None => self.lines.push(match source {
                Source::Proxy => format!("[proxy] {text}"),
                Source::Farm => format!("[farm] {text}"),
                Source::Stdout | Source::Stderr => text,
            }),
        }
        self.is_open = is_partial;
    }

    fn take_some(&mut self) -> Option<EventKind> {
        (!self.lines.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> EventKind {
        self.bytes = 0;
        self.is_open = false;
        EventKind::BuildOutput { step: self.step.clone(), lines: std::mem::take(&mut self.lines) }
    }
}

fn word(event: &BuildEvent) -> String {
    // A unit variant's JSON is its word in quotes.
    serde_json::to_value(event.step).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Writes an event, however long the store is away: the lease ends before patience does.
/// Says whether it is written: if not, somebody else has the build and tells.
async fn write(store: &Store, lease: &Lease, kind: EventKind) -> bool {
    if matches!(&kind, EventKind::BuildOutput { lines, .. } if lines.is_empty()) {
        return true;
    }
    loop {
        match store.append_event(lease, &kind).await {
            Ok(()) => return true,
            Err(StoreError::Unavailable { .. }) => sleep(PAUSE).await,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use shipway_gobuild::StepName;

    use super::*;

    fn line(step: StepName, source: Source, is_partial: bool, text: &str) -> BuildEvent {
        BuildEvent { at: 0, step, what: What::Line { source, is_partial, text: text.to_owned() } }
    }

    #[test]
    fn lines_go_together_and_never_past_the_end_of_their_step() {
        let mut held = Held::default();
        let began = BuildEvent { at: 0, step: StepName::Compile, what: What::Began };
        let told = held.take_in(began);
        assert_eq!(told, [EventKind::BuildStep { step: "compile".into(), ended: None, took_ms: None }]);
        assert_eq!(held.take_in(line(StepName::Compile, Source::Stderr, true, "a")), []);
        assert_eq!(held.take_in(line(StepName::Compile, Source::Stderr, false, "b")), []);
        assert_eq!(held.take_in(line(StepName::Compile, Source::Proxy, false, "c")), []);
        let what = What::Ended { is_success: false, took_ms: 7, memory_peak_bytes: 0, disk_bytes: 0 };
        let told = held.take_in(BuildEvent { at: 0, step: StepName::Compile, what });
        let lines = vec!["ab".to_owned(), "[proxy] c".to_owned()];
        let ended = Some("failed".to_owned());
        assert_eq!(
            told,
            [
                EventKind::BuildOutput { step: "compile".into(), lines },
                EventKind::BuildStep { step: "compile".into(), ended, took_ms: Some(7) },
            ]
        );
    }

    #[test]
    fn an_event_is_bounded_in_lines_and_in_bytes() {
        let mut held = Held::default();
        let mut told = Vec::new();
        for _ in 0..LINES_MAX {
            told.extend(held.take_in(line(StepName::Compile, Source::Stdout, false, "x")));
        }
        assert_eq!(told.len(), 1);
        let long = "y".repeat(BYTES_MAX);
        assert_eq!(held.take_in(line(StepName::Compile, Source::Stdout, false, &long)).len(), 1);
        assert!(held.lines.is_empty());
    }
}
