use std::time::Duration;

use proptest::prelude::*;
use shipway_model::{
    ContentKind, Digest, Egress, HealthCheck, Limits, ReleaseProgram, ReleaseSpec, ReleaseState, RootFs, Runner,
    ServiceId, Source,
};

use super::*;

const HOUR: Micros = 3600 * 1_000_000;
const NOW: Micros = 1000 * 24 * HOUR;

fn release(number: u32, state: ReleaseState, age_hours: i64) -> Release {
    let source =
        Source { digest: Digest::from_sha256([1; 32]), size_bytes: 1, content_type: None, file_name: None, url: None };
    Release {
        service: ServiceId(uuid::Uuid::nil()),
        number,
        spec: ReleaseSpec {
            program: ReleaseProgram::Content { source, kind: ContentKind::Static, runner: Runner::Native },
            root: RootFs::HostImage { digest: Digest::from_sha256([2; 32]) },
            env: std::collections::BTreeMap::new(),
            limits: Limits::default(),
            health: HealthCheck::default(),
            egress: Egress::None,
        },
        state,
        created_at: NOW - age_hours * HOUR,
    }
}

/// `live at` of so many releases, each made an hour before the next; which ones go.
#[track_caller]
fn check_releases(many: u32, live: u32, keep: u32, age_hours: u64, expected: &[u32]) {
    let keep = Keep { releases: keep, releases_age: Duration::from_secs(age_hours * 3600), ..Keep::default() };
    let all: Vec<Release> = (1..=many)
        .rev()
        .map(|number| {
            let state = if number == live { ReleaseState::Live } else { ReleaseState::Retired };
            release(number, state, i64::from(many - number))
        })
        .collect();
    assert_eq!(surplus_releases(&all, &keep, NOW), expected);
}

#[test]
fn the_newest_releases_stay_beside_the_live_one() {
    check_releases(5, 5, 2, 0, &[2, 1]);
    check_releases(5, 1, 2, 0, &[3, 2]);
    check_releases(5, 0, 2, 0, &[3, 2, 1]);
    check_releases(3, 3, 2, 0, &[]);
    check_releases(3, 3, 0, 0, &[2, 1]);
    check_releases(0, 0, 0, 0, &[]);
}

#[test]
fn a_young_release_stays_however_many_there_are() {
    check_releases(30, 30, 2, 24, &[5, 4, 3, 2, 1]);
    check_releases(30, 30, 2, 48, &[]);
}

#[track_caller]
fn check_events(first: u64, last: u64, gone_days: Option<i64>, expected: Option<u64>) {
    let keep = Keep { events: 10, events_age: Duration::from_secs(30 * 24 * 3600), ..Keep::default() };
    let quiet_for = gone_days.unwrap_or(999) * 24 * HOUR;
    let timeline = Timeline { subject: String::new(), first, last, quiet_for, gone: gone_days.is_some() };
    assert_eq!(old_events(&timeline, &keep), expected);
}

#[test]
fn of_a_living_service_the_newest_events_stay_for_ever() {
    check_events(1, 10, None, None);
    check_events(1, 11, None, Some(1));
    check_events(1, 500, None, Some(490));
    check_events(490, 500, None, Some(490));
    check_events(491, 500, None, None);
}

#[test]
fn of_a_service_that_is_gone_all_events_go_after_a_while() {
    check_events(1, 10, Some(29), None);
    check_events(1, 11, Some(29), Some(1));
    check_events(1, 10, Some(31), Some(10));
}

/// `name hours bytes`, and what is needed; which go, oldest first.
#[track_caller]
fn check_unused(there: &[(&str, i64, u64)], needed: &[&str], rule: Unused, expected: &[&str]) {
    let there: Vec<Kept> = there
        .iter()
        .map(|&(name, hours, size_bytes)| Kept { name: name.to_owned(), size_bytes, touched_at: NOW - hours * HOUR })
        .collect();
    let needed = needed.iter().map(|&name| name.to_owned()).collect();
    let gone: Vec<&str> = unused(&there, &needed, &rule, NOW).iter().map(|one| one.name.as_str()).collect();
    assert_eq!(gone, expected);
}

const RULE: Unused = Unused { age: Duration::from_secs(24 * 3600), count: 3, bytes: 100 };

#[test]
fn by_age() {
    check_unused(&[("a", 23, 1), ("b", 25, 1), ("c", 26, 1)], &[], RULE, &["c", "b"]);
    check_unused(&[("a", 23, 1), ("b", 25, 1), ("c", 26, 1)], &["c"], RULE, &["b"]);
}

#[test]
fn by_count_the_oldest_first() {
    let there = [("a", 2, 1), ("b", 3, 1), ("c", 4, 1), ("d", 5, 1), ("e", 6, 1)];
    check_unused(&there, &[], RULE, &["e", "d"]);
    check_unused(&there, &["a", "b"], RULE, &[]);
}

#[test]
fn by_size_the_oldest_first() {
    check_unused(&[("a", 2, 60), ("b", 3, 30), ("c", 4, 11)], &[], RULE, &["c"]);
    check_unused(&[("a", 2, 101)], &[], RULE, &["a"]);
    check_unused(&[("a", 2, 101)], &["a"], RULE, &[]);
}

#[test]
fn what_is_young_stays_and_takes_no_room() {
    let none = Unused { age: Duration::ZERO, count: 0, bytes: 0 };
    check_unused(&[("a", 0, u64::MAX), ("b", 1, u64::MAX), ("c", 2, 1)], &[], none, &["c"]);
    check_unused(&[("a", 0, u64::MAX), ("c", 2, 1)], &[], RULE, &[]);
    check_unused(&[("future", -5, u64::MAX)], &[], none, &[]);
}

proptest! {
    #[test]
    fn nothing_needed_or_young_ever_goes_and_what_stays_fits(
        there in proptest::collection::vec((0_u8..20, -5_i64..60, 0_u64..60), 0..30),
        needed in proptest::collection::btree_set(0_u8..20, 0..10),
        hours in 0_u64..50, count in 0_usize..10, bytes in 0_u64..300,
    ) {
        let rule = Unused { age: Duration::from_secs(hours * 3600), count, bytes };
        let there: Vec<Kept> = there
            .iter()
            .enumerate()
            .map(|(at, &(name, age, size_bytes))| {
                Kept { name: format!("{name}/{at}"), size_bytes, touched_at: NOW - age * HOUR }
            })
            .collect();
        let needed: BTreeSet<String> =
            there.iter().filter(|one| needed.iter().any(|n| one.name.starts_with(&format!("{n}/")))).map(|one| one.name.clone()).collect();
        let gone = unused(&there, &needed, &rule, NOW);
        for one in &gone {
            prop_assert!(!needed.contains(&one.name) && NOW - one.touched_at > YOUNG);
        }
        let stays = |one: &&Kept| !gone.contains(one) && !needed.contains(&one.name) && NOW - one.touched_at > YOUNG;
        let left: Vec<&Kept> = there.iter().filter(stays).collect();
        prop_assert!(left.len() <= count);
        prop_assert!(left.iter().map(|one| one.size_bytes).sum::<u64>() <= bytes);
        prop_assert!(left.iter().all(|one| NOW - one.touched_at <= micros(rule.age)));
    }
}
