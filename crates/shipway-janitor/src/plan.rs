//! What is to go: pure, from what is there and what is to be kept.
//!
//! What must not go whatever is planned here (a live release, a file that was touched
//! meanwhile) is seen to by those who take it away.

use std::collections::BTreeSet;

use shipway_model::{Micros, Release};
use shipway_store::Timeline;

use crate::housekeeping::Kept;
use crate::keep::{Keep, Unused};

/// Whatever came or was made use of within this time stays: somebody is about to need it,
/// as an upload that no service was made of yet. In microseconds; an hour.
pub const YOUNG: Micros = 3600 * 1_000_000;

/// A span of time in microseconds.
pub(crate) fn micros(span: std::time::Duration) -> Micros {
    Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX)
}

/// Numbers of the releases that are too many, of all of one service, newest first.
#[must_use]
pub fn surplus_releases(newest_first: &[Release], keep: &Keep, now: Micros) -> Vec<u32> {
    let others = newest_first.iter().filter(|release| release.state != shipway_model::ReleaseState::Live);
    let beyond = others.skip(keep.releases as usize);
    let old = beyond.filter(|release| now.saturating_sub(release.created_at) > micros(keep.releases_age));
    old.map(|release| release.number).collect()
}

/// Up to which number the events of a timeline are to go, if any are.
#[must_use]
pub fn old_events(timeline: &Timeline, keep: &Keep) -> Option<u64> {
    if timeline.gone && timeline.quiet_for > micros(keep.events_age) {
        return Some(timeline.last);
    }
    let up_to = timeline.last.saturating_sub(keep.events);
    (up_to >= timeline.first).then_some(up_to)
}

/// What is to be removed of what is there: unneeded, not young, and too old or, oldest
/// first, too many or too much.
#[must_use]
pub fn unused<'a>(there: &'a [Kept], needed: &BTreeSet<String>, rule: &Unused, now: Micros) -> Vec<&'a Kept> {
    let age = |one: &Kept| now.saturating_sub(one.touched_at);
    let mut idle: Vec<&Kept> = there.iter().filter(|one| !needed.contains(&one.name) && age(one) > YOUNG).collect();
    // The newest first: they are what is kept as long as there is room.
    idle.sort_by(|a, b| b.touched_at.cmp(&a.touched_at).then_with(|| a.name.cmp(&b.name)));
    let (mut count, mut bytes) = (0_usize, 0_u64);
    idle.retain(|one| {
        count += 1;
        bytes = bytes.saturating_add(one.size_bytes);
        age(one) > micros(rule.age) || count > rule.count || bytes > rule.bytes
    });
    idle.reverse();
    idle
}

#[cfg(test)]
mod tests;
