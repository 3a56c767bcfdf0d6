//! How long the work of a killed worker lay there until somebody took it up again.

use shipway_model::{EventKind, Micros};

use super::Kill;
use crate::evidence::{Event, Evidence};

/// Every time, in milliseconds: from the kill to the next claim of what the victim held.
#[must_use]
pub fn reclaims(evidence: &Evidence, kills: &[Kill]) -> Vec<u64> {
    let rows = &evidence.rows;
    rows.tasks.iter().flat_map(|task| of_one(rows.history(&task.id), kills)).collect()
}

fn of_one(history: &[Event], kills: &[Kill]) -> Vec<u64> {
    let mut found = Vec::new();
    let mut held: Option<(&str, Micros)> = None;
    for (place, event) in history.iter().enumerate() {
        let EventKind::Task { change, note, .. } = &event.kind else { continue };
        match (change.as_str(), held) {
            ("claimed", _) => held = note.as_deref().map(|worker| (worker, event.at)),
            ("given_back", Some((worker, since))) => {
                let died = kills.iter().filter(|kill| kill.worker == worker && kill.at >= since && kill.at <= event.at);
                let again = history[place..].iter().find(|event| is_claim(event));
                if let (Some(last), Some(again)) = (died.map(|kill| kill.at).max(), again) {
                    found.push(u64::try_from((again.at - last).max(0) / 1000).unwrap_or(0));
                }
                held = None;
            }
            _ => held = None,
        }
    }
    found
}

fn is_claim(event: &Event) -> bool {
    matches!(&event.kind, EventKind::Task { change, .. } if change == "claimed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: Micros, change: &str, note: Option<&str>) -> Event {
        let (change, note) = (change.to_owned(), note.map(str::to_owned));
        Event { seq: 1, at, kind: EventKind::Task { change, token: 1, attempt: 1, note } }
    }

    #[test]
    fn it_is_counted_from_the_kill_of_who_held_it() {
        let history = [
            event(0, "queued", None),
            event(10_000, "claimed", Some("a")),
            event(900_000, "given_back", Some("its worker was lost")),
            event(950_000, "claimed", Some("b")),
            event(960_000, "done", None),
        ];
        let kill = |worker: &str, at| Kill { worker: worker.to_owned(), at };
        assert_eq!(of_one(&history, &[kill("a", 50_000)]), [900]);
        assert_eq!(of_one(&history, &[kill("b", 50_000), kill("a", 5_000)]), [0_u64; 0]);
    }
}
