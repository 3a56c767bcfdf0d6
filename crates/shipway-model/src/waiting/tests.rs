use uuid::Uuid;

use super::*;

const SECOND: Micros = 1_000_000;

/// A worker as one would tell of it: `w1 engine e1 labels gpu,ssd cordoned silent 90 has 2/8`.
fn hand(told: &str) -> Hand {
    let mut words = told.split(' ');
    let mut hand = Hand {
        worker: words.next().unwrap().to_owned(),
        engine: None,
        labels: BTreeSet::new(),
        state: ACTIVE.to_owned(),
        silent_for: SECOND,
        capacity: 8,
        running: 0,
    };
    while let Some(word) = words.next() {
        match word {
            "engine" => hand.engine = words.next().map(str::to_owned),
            "labels" => hand.labels = labels(words.next().unwrap()),
            "silent" => hand.silent_for = words.next().unwrap().parse::<Micros>().unwrap() * SECOND,
            "has" => {
                let (running, capacity) = words.next().unwrap().split_once('/').unwrap();
                (hand.running, hand.capacity) = (running.parse().unwrap(), capacity.parse().unwrap());
            }
            state => state.clone_into(&mut hand.state),
        }
    }
    hand
}

fn labels(text: &str) -> BTreeSet<String> {
    text.split(',').map(str::to_owned).collect()
}

fn facts(workers: &[&str]) -> Facts {
    Facts {
        now: 100 * SECOND,
        not_before: 100 * SECOND,
        ahead: None,
        engine: None,
        labels: BTreeSet::new(),
        project_running: 0,
        project_max: None,
        workers: workers.iter().map(|told| hand(told)).collect(),
        silent_after: Duration::from_secs(20),
    }
}

fn told(waiting: &[Waiting]) -> String {
    let one = |waiting: &Waiting| match waiting {
        Waiting::NotDue { until } => format!("not due until {}", until / SECOND),
        Waiting::Behind(ahead) => {
            format!("behind a {} that {}", ahead.kind, if ahead.running { "runs" } else { "waits" })
        }
        Waiting::NoWorkers => "no workers".to_owned(),
        Waiting::NoEngine { engine } => format!("nobody has {engine}"),
        Waiting::NoLabels { labels } => format!("nobody offers {labels:?}"),
        Waiting::Unavailable { workers, .. } => {
            let each: Vec<String> = workers.iter().map(|away| format!("{} is {}", away.worker, away.why)).collect();
            each.join(" and ")
        }
        Waiting::ProjectFull { most } => format!("project at its {most}"),
        Waiting::AllBusy { workers } => format!("{workers} busy"),
    };
    waiting.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(facts: &Facts, expected: &str) {
    assert_eq!(told(&why(facts)), expected, "{facts:#?}");
}

#[test]
fn nothing_is_in_the_way_of_a_task_that_somebody_takes_next() {
    check(&facts(&["w1"]), "");
    check(&facts(&["w1 draining", "w2 has 8/8", "w3 silent 99", "w4 has 7/8"]), "");
}

#[test]
fn its_time_and_what_stands_before_it() {
    let ahead = |running| Some(Ahead { task: TaskId(Uuid::nil()), kind: "deploy".to_owned(), running });
    check(&Facts { not_before: 101 * SECOND, ..facts(&["w1"]) }, "not due until 101");
    check(&Facts { ahead: ahead(true), ..facts(&["w1"]) }, "behind a deploy that runs");
    check(&Facts { ahead: ahead(false), ..facts(&["w1"]) }, "behind a deploy that waits");
    let both = Facts { not_before: 101 * SECOND, ahead: ahead(false), ..facts(&[]) };
    check(&both, "not due until 101, behind a deploy that waits, no workers");
}

#[test]
fn the_worker_of_its_engine() {
    let of = |workers: &[&str]| Facts { engine: Some("e1".to_owned()), ..facts(workers) };
    check(&of(&["w1 engine e1", "w2 engine e2"]), "");
    check(&of(&["w2 engine e2", "w3"]), "nobody has e1");
    check(&of(&["w1 engine e1 silent 21", "w2 engine e2"]), "w1 is silent");
    check(&of(&["w1 engine e1 silent 20"]), "");
    check(&of(&["w1 engine e1 cordoned", "w2 engine e2"]), "w1 is cordoned");
    check(&of(&["w1 engine e1 draining"]), "w1 is draining");
    check(&of(&["w1 engine e1 leaving silent 30"]), "w1 is silent");
    check(&of(&["w1 engine e1 has 8/8", "w2 engine e2"]), "1 busy");
    check(&of(&["old engine e1 silent 99", "new engine e1"]), "");
}

#[test]
fn labels_the_cap_and_full_hands() {
    let of = |workers: &[&str]| Facts { labels: labels("gpu,ssd"), ..facts(workers) };
    check(&of(&["w1 labels gpu", "w2 labels ssd"]), "nobody offers {\"gpu\", \"ssd\"}");
    check(&of(&["w1 labels gpu,ssd,fast"]), "");
    check(&of(&["w1 labels gpu,ssd cordoned", "w2 labels gpu"]), "w1 is cordoned");
    let full = Facts { project_running: 2, project_max: Some(2), ..facts(&["w1"]) };
    check(&full, "project at its 2");
    check(&Facts { project_max: Some(3), ..full.clone() }, "");
    check(&Facts { workers: vec![hand("w1 has 8/8"), hand("w2 has 9/8")], ..full }, "2 busy, project at its 2");
    check(&facts(&["w1 has 0/0"]), "1 busy");
}

/// Every mixture of two workers and a task: what is said agrees with who may take it.
#[test]
fn it_is_taken_next_exactly_when_a_worker_that_may_take_it_is_there_and_free() {
    let mut worlds = 0;
    let hands = ["w engine e1", "w engine e2", "w", "w labels gpu", "w engine e1 labels gpu"];
    let ways = ["", " cordoned", " silent 99", " has 8/8"];
    let all: Vec<Hand> =
        hands.iter().flat_map(|base| ways.iter().map(move |way| hand(&format!("{base}{way}")))).collect();
    let pairs = all.iter().flat_map(|one| all.iter().map(move |other| vec![one.clone(), other.clone()]));
    for workers in pairs.chain([vec![]]) {
        for engine in [None, Some("e1".to_owned())] {
            for wanted in [BTreeSet::new(), labels("gpu")] {
                let facts = Facts { engine: engine.clone(), labels: wanted, workers: workers.clone(), ..facts(&[]) };
                let free = |hand: &Hand| hand.silent_for <= 20 * SECOND && hand.running < hand.capacity;
                let taken = facts
                    .workers
                    .iter()
                    .any(|hand| hand.may_take(facts.engine.as_deref(), &facts.labels) && free(hand));
                let reasons = why(&facts);
                assert_eq!(reasons.is_empty(), taken, "{facts:#?}: {reasons:?}");
                assert!(reasons.len() <= 1, "one reason says it");
                worlds += 1;
            }
        }
    }
    assert_eq!(worlds, (20 * 20 + 1) * 4);
}
