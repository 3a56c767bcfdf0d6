//! What commands say, passed on within bounds.
//!
//! A step may say a megabyte. Of what comes after that only the end is told, when there is
//! one: that is where the reason stands. What a command is *asked* to say (its module list)
//! is kept beside, up to a bound of its own.

use std::collections::VecDeque;

use shipway_gobuild::StepName;
use shipway_gobuild::plan::KEPT_BYTES_MAX;
use shipway_stdx::clock::Clock;
use tokio::sync::mpsc;

use crate::event::{BuildEvent, Source, What};
use crate::sandbox::Line;

/// Bytes of text that one step may tell as they come.
const STEP_BYTES_MAX: usize = 1 << 20;
/// Lines, and bytes of text, that are known of the end of a command.
const TAIL_LINES_MAX: usize = 200;
const TAIL_BYTES_MAX: usize = 64 << 10;

/// The voice of one step.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    step: StepName,
    clock: &'a dyn Clock,
    events: mpsc::Sender<BuildEvent>,
    /// Bytes told so far; the proxies' and the commands' apart, so that neither silences the other.
    told: [usize; 2],
    /// Lines left out, since the cut.
    cut: u64,
    tail: VecDeque<(Source, String)>,
    tail_bytes: usize,
    /// The last piece of the tail goes on.
    is_open: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(step: StepName, clock: &'a dyn Clock, events: mpsc::Sender<BuildEvent>) -> Self {
        let tail = VecDeque::new();
        Self { step, clock, events, told: [0; 2], cut: 0, tail, tail_bytes: 0, is_open: false }
    }

    /// Tells an event of the step itself.
    pub(crate) async fn tell(&self, what: What) {
        self.send(self.clock.now(), what).await;
    }

    /// A line of a command.
    pub(crate) async fn say(&mut self, line: Line) {
        let source = if line.is_error { Source::Stderr } else { Source::Stdout };
        self.remember(source, &line);
        let Line { at, is_partial, text, .. } = line;
        if self.is_room(1, text.len()) {
            self.send(at, What::Line { source, is_partial, text }).await;
        } else if self.cut == 0 {
            self.cut = 1;
            let text = format!("output beyond {STEP_BYTES_MAX} bytes is left out; its end follows");
            self.tell(What::Line { source: Source::Farm, is_partial: false, text }).await;
        } else {
            self.cut += 1;
        }
    }

    /// A line of the door's.
    pub(crate) async fn say_of_proxy(&mut self, text: String) {
        if self.is_room(0, text.len()) {
            self.tell(What::Line { source: Source::Proxy, is_partial: false, text }).await;
        }
    }

    /// The command has ended: what was left out and stands at the end is told now.
    pub(crate) async fn finish(&mut self) -> Vec<String> {
        if self.cut > 0 {
            let cut = usize::try_from(self.cut).unwrap_or(usize::MAX);
            let from = self.tail.len().saturating_sub(cut);
            for (source, text) in self.tail.iter().skip(from) {
                self.tell(What::Line { source: *source, is_partial: false, text: text.clone() }).await;
            }
            self.cut = 0;
        }
        self.tail_bytes = 0;
        self.tail.drain(..).map(|(_, text)| text).collect()
    }

    fn is_room(&mut self, voice: usize, bytes: usize) -> bool {
        let told = &mut self.told[voice];
        *told = told.saturating_add(bytes + 1);
        *told <= STEP_BYTES_MAX
    }

    fn remember(&mut self, source: Source, line: &Line) {
        match self.tail.back_mut() {
            Some((_, text)) if self.is_open && text.len() < 4096 => text.push_str(&line.text),
            _ => self.tail.push_back((source, line.text.clone())),
        }
        self.is_open = line.is_partial;
        self.tail_bytes += line.text.len();
        while self.tail.len() > TAIL_LINES_MAX || (self.tail_bytes > TAIL_BYTES_MAX && self.tail.len() > 1) {
            let Some((_, gone)) = self.tail.pop_front() else { return };
            self.tail_bytes = self.tail_bytes.saturating_sub(gone.len());
        }
    }

    async fn send(&self, at: i64, what: What) {
        // Nobody listening is no reason to stop: the build may be wanted by others.
        drop(self.events.send(BuildEvent { at, step: self.step, what }).await);
    }
}

/// Output that was asked for, kept whole.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    text: String,
    is_too_long: bool,
}

impl Kept {
    pub(crate) fn add(&mut self, line: &Line) {
        if self.text.len() + line.text.len() + 1 > KEPT_BYTES_MAX {
            self.is_too_long = true;
            return;
        }
        self.text.push_str(&line.text);
        if !line.is_partial {
            self.text.push('\n');
        }
    }

    /// `None` if it was too long to be whole.
    pub(crate) fn into_text(self) -> Option<String> {
        (!self.is_too_long).then_some(self.text)
    }
}

#[cfg(test)]
mod tests {
    use shipway_stdx::clock::ManualClock;

    use super::*;

    fn line(text: &str, is_partial: bool) -> Line {
        Line { at: 1, is_error: false, is_partial, text: text.to_owned() }
    }

    fn texts(events: &mut mpsc::Receiver<BuildEvent>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let What::Line { text, .. } = event.what {
                texts.push(text);
            }
        }
        texts
    }

    #[tokio::test]
    async fn a_flood_is_cut_and_its_end_is_told() {
        let (events, mut told) = mpsc::channel(100_000);
        let clock = ManualClock::default();
        let mut output = Output::new(StepName::Compile, &clock, events);
        for number in 0..40_000 {
            output.say(line(&format!("{number:0>64}"), false)).await;
        }
        let tail = output.finish().await;
        let told = texts(&mut told);
        let bytes: usize = told.iter().map(String::len).sum();
        assert!(bytes <= STEP_BYTES_MAX + TAIL_BYTES_MAX + 100, "{bytes}");
        assert_eq!(told.iter().filter(|text| text.starts_with("output beyond")).count(), 1);
        assert!(told.last().unwrap().ends_with("39999") && tail.len() == TAIL_LINES_MAX);
    }

    #[tokio::test]
    async fn pieces_of_a_line_are_one_at_the_end_and_endless_ones_are_bounded() {
        let (events, _told) = mpsc::channel(100_000);
        let clock = ManualClock::default();
        let mut output = Output::new(StepName::Compile, &clock, events);
        output.say(line("one ", true)).await;
        output.say(line("line", false)).await;
        output.say(line("another", false)).await;
        assert_eq!(output.finish().await, ["one line", "another"]);
        for _ in 0..1000 {
            output.say(line(&"x".repeat(4000), true)).await;
        }
        assert!(output.finish().await.iter().map(String::len).sum::<usize>() <= 2 * TAIL_BYTES_MAX);
    }

    #[test]
    fn what_is_too_long_to_be_kept_is_not_half_kept() {
        let mut kept = Kept::default();
        kept.add(&line("a", true));
        kept.add(&line("b", false));
        assert_eq!(kept.text, "ab\n");
        kept.add(&line(&"x".repeat(KEPT_BYTES_MAX), false));
        assert_eq!(kept.into_text(), None);
    }
}
