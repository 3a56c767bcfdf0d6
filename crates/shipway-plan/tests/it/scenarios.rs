//! Stories in `tests/scenarios/*.txt`, each line a fact or what the plan answers.
//!
//! ```text
//! # a title
//! wanted running            what the user asked for
//! state live 1              what the store says
//! at 100                    the time, in seconds
//! a live 1, running, since 10, failures 2
//! a ends: exit status 1     it ends now        a vanishes · a is idle
//! => bury a (exit status 1, 3 in a row)        the moves; they are carried out
//! ```
//! A container brought up by a move gets the next letter.

use std::fmt::Write;
use std::path::Path;

use shipway_model::{ContainerId, InstanceRole, Micros, ServiceState, Wanted};
use shipway_plan::{Move, Policy, Seen, Sight, World, next_moves};

use crate::hands::{SECOND, apply, container, running, sight};

#[test]
fn every_story_is_told_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut told = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for story in text.split("\n# ") {
            tell(&path, story);
            told += 1;
        }
    }
    assert!(told >= 10, "only {told} stories were found");
}

fn tell(path: &Path, story: &str) {
    let mut world = World { now: 0, wanted: Wanted::Running, state: ServiceState::Starting, instances: Vec::new() };
    let title = story.lines().next().unwrap_or_default();
    for line in story.lines().skip(1).filter(|line| !line.is_empty()) {
        let Some(expected) = line.strip_prefix("=> ") else {
            learn(&mut world, line);
            continue;
        };
        let moves = next_moves(&world, &Policy::default());
        assert_eq!(show(&moves), expected, "{}: {title}", path.display());
        for one in moves.iter().filter(|one| one.is_due()) {
            apply(&mut world, one);
        }
    }
}

fn learn(world: &mut World, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap();
    match word {
        "wanted" if rest == "running" => world.wanted = Wanted::Running,
        "wanted" => world.wanted = Wanted::Stopped,
        "state" => world.state = state(rest),
        "at" => world.now = seconds(rest),
        name => learn_of(world, name, rest),
    }
}

fn learn_of(world: &mut World, name: &str, fact: &str) {
    let n = u128::from(name.as_bytes()[0] - b'a' + 1);
    let now = world.now;
    let found = world.instances.iter_mut().find(|s| s.instance.container == container(n));
    match (found, fact.split_once(": ")) {
        (Some(sight), Some(("ends", how))) => sight.seen = ended(how, now),
        (Some(sight), None) if fact == "vanishes" => sight.seen = Seen::Absent,
        (Some(sight), None) if fact == "is idle" => sight.idle = true,
        (None, _) => world.instances.push(introduce(n, fact, now)),
        _ => panic!("what is `{name} {fact}`?"),
    }
}

fn introduce(n: u128, fact: &str, now: Micros) -> Sight {
    let mut words = fact.split(", ");
    let (role, release) = words.next().unwrap().split_once(' ').unwrap();
    let role = match role {
        "live" => InstanceRole::Live,
        "candidate" => InstanceRole::Candidate,
        "draining" => InstanceRole::Draining,
        other => panic!("no role is called {other}"),
    };
    let seen = match words.next().unwrap() {
        "running" => running(n),
        "absent" => Seen::Absent,
        "created" => Seen::Created,
        how => ended(how, now),
    };
    let mut one = sight(n, role, release.parse().unwrap(), seen);
    for word in words {
        match word.split_once(' ').unwrap() {
            ("since", at) => one.instance.started_at = Some(seconds(at)),
            ("failures", count) => one.instance.failures = count.parse().unwrap(),
            other => panic!("no instance has {other:?}"),
        }
    }
    one
}

fn ended(how: &str, now: Micros) -> Seen {
    Seen::Ended { how: how.to_owned(), at: Some(now) }
}

fn state(text: &str) -> ServiceState {
    let mut words = text.split(' ');
    let word = words.next();
    let release = words.next().map(|n| n.parse().unwrap());
    let reason = String::new();
    match (word.unwrap(), release) {
        ("starting", None) => ServiceState::Starting,
        ("live", Some(release)) => ServiceState::Live { release },
        ("unhealthy", Some(release)) => ServiceState::Unhealthy { release, reason },
        ("stopped", release) => ServiceState::Stopped { release },
        ("failed", None) => ServiceState::Failed { reason },
        other => panic!("no state is called {other:?}"),
    }
}

fn seconds(text: &str) -> Micros {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part: Micros = format!("{part:0<6}").parse().unwrap();
    whole.parse::<Micros>().unwrap() * SECOND + part
}

fn show(moves: &[Move]) -> String {
    if moves.is_empty() {
        return "nothing".to_owned();
    }
    let mut text = String::new();
    for one in moves {
        let comma = if text.is_empty() { "" } else { "; " };
        write!(text, "{comma}{}", words(one)).unwrap();
    }
    text
}

fn words(one: &Move) -> String {
    match one {
        Move::MarkStopped { release } => format!("mark stopped {release}"),
        Move::Discard { container } => format!("discard {}", name(*container)),
        Move::Retire { container } => format!("retire {}", name(*container)),
        Move::Drain { container } => format!("drain {}", name(*container)),
        Move::Bury { container, how, failures, .. } => {
            format!("bury {} ({how}, {failures} in a row)", name(*container))
        }
        Move::MarkUnhealthy { release, .. } => format!("mark unhealthy {release}"),
        Move::Revive { release, failures } => format!("revive {release} ({failures} in a row)"),
        Move::Adopt { container, .. } => format!("adopt {}", name(*container)),
        Move::Forgive { container } => format!("forgive {}", name(*container)),
        Move::MarkLive { release } => format!("mark live {release}"),
        Move::Wait { until } => {
            let text = format!("{}.{:06}", until / SECOND, until % SECOND);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            format!("wait until {text}")
        }
    }
}

fn name(container: ContainerId) -> char {
    let n = u8::try_from(container.0.as_u128()).unwrap();
    char::from(b'a' + n - 1)
}
