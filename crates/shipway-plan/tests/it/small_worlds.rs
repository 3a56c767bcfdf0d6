//! Every start of up to three instances: the invariants of the crate's head hold
//! at once and after every move, and every world settles, also when each worker
//! dies after its first moves.

use shipway_model::{InstanceRole, Micros, ServiceState, Wanted};
use shipway_plan::{Move, Policy, Seen, Sight, World, next_moves};

use crate::hands::{SECOND, apply, container, endpoint_of, running, sight};

const NOW: Micros = 1000 * SECOND;

/// More looks than any world here needs; one that takes longer goes in circles.
const LOOKS_MAX: usize = 24;

fn states() -> Vec<ServiceState> {
    let reason = String::new;
    vec![
        ServiceState::Starting,
        ServiceState::Live { release: 1 },
        ServiceState::Live { release: 2 },
        ServiceState::Unhealthy { release: 1, reason: reason() },
        ServiceState::Stopped { release: None },
        ServiceState::Stopped { release: Some(1) },
        ServiceState::Failed { reason: reason() },
    ]
}

fn seens(n: u128) -> Vec<Seen> {
    let elsewhere = Seen::Running { endpoint: Some(endpoint_of(container(n + 100))) };
    let ended = |at| Seen::Ended { how: "exit status 1".to_owned(), at };
    vec![
        Seen::Absent,
        Seen::Created,
        running(n),
        elsewhere,
        Seen::Running { endpoint: None },
        ended(None),
        ended(Some(NOW - 1)),
    ]
}

/// Every way one instance can be; `plain` leaves out what only ages and counts.
fn ways(n: u128, plain: bool) -> Vec<Sight> {
    let (failures, starts, idles): (&[u32], &[_], &[bool]) = if plain {
        (&[0, 3], &[Some(NOW - SECOND)], &[false])
    } else {
        let starts = &[None, Some(0), Some(NOW - SECOND), Some(NOW + 900 * SECOND)];
        (&[0, 1, 3], starts, &[false, true])
    };
    let mut ways = Vec::new();
    for role in [InstanceRole::Candidate, InstanceRole::Live, InstanceRole::Draining] {
        for release in [1, 2] {
            for seen in seens(n) {
                for &failures in failures {
                    for &started_at in starts {
                        for &idle in idles {
                            let mut one = sight(n, role, release, seen.clone());
                            one.instance.failures = failures;
                            one.instance.started_at = started_at;
                            one.idle = idle;
                            ways.push(one);
                        }
                    }
                }
            }
        }
    }
    ways
}

fn each_world(instances: &[Sight], mut check: impl FnMut(World)) {
    for wanted in [Wanted::Running, Wanted::Stopped] {
        for state in states() {
            check(World { now: NOW, wanted, state, instances: instances.to_vec() });
        }
    }
}

fn lives(world: &World) -> usize {
    let live = |s: &&Sight| s.instance.role == InstanceRole::Live;
    world.instances.iter().filter(live).count()
}

/// The containers that `one` ends or takes visitors from.
const fn hurts(one: &Move) -> Option<shipway_model::ContainerId> {
    match one {
        Move::Discard { container }
        | Move::Retire { container }
        | Move::Drain { container }
        | Move::Bury { container, .. } => Some(*container),
        _ => None,
    }
}

/// What must be true of the moves of any world.
fn check_moves(world: &World, moves: &[Move]) {
    let hurt: Vec<_> = moves.iter().filter_map(hurts).collect();
    for (n, one) in hurt.iter().enumerate() {
        assert!(!hurt[..n].contains(one), "hurt twice: {moves:?}");
    }
    for (n, one) in moves.iter().enumerate() {
        match one {
            Move::Wait { until } => {
                assert_eq!(n + 1, moves.len(), "a wait is last: {moves:?}");
                assert!(*until > world.now && *until <= world.now + 120 * SECOND);
            }
            Move::Revive { .. } => assert_eq!(lives(world), 0, "{world:?}: {moves:?}"),
            _ => {}
        }
    }
    for sight in &world.instances {
        check_instance(world, sight, hurt.contains(&sight.instance.container), moves);
    }
}

fn check_instance(world: &World, sight: &Sight, is_hurt: bool, moves: &[Move]) {
    let runs = matches!(sight.seen, Seen::Running { .. });
    let Some(keep) = world.release_to_keep() else {
        assert!(is_hurt, "nothing stays of {world:?}: {moves:?}");
        return;
    };
    match sight.instance.role {
        InstanceRole::Candidate => assert!(is_hurt, "{world:?}: {moves:?}"),
        InstanceRole::Live if sight.instance.release == keep && runs => {
            let others = lives(world) > 1;
            assert!(!is_hurt || others, "the live one is spared: {moves:?}");
        }
        InstanceRole::Live => assert!(is_hurt, "{world:?}: {moves:?}"),
        InstanceRole::Draining => {
            let busy = runs && !sight.idle;
            assert!(!busy || !is_hurt, "still draining: {world:?}: {moves:?}");
        }
    }
}

/// Plans and acts until nothing is left to do; a worker dies after `alive` moves
/// of every plan.
fn settle(mut world: World, alive: usize) -> World {
    let policy = Policy::default();
    for _ in 0..LOOKS_MAX {
        let moves = next_moves(&world, &policy);
        check_moves(&world, &moves);
        if moves.is_empty() {
            let busy = world.instances.iter_mut().filter(|s| !s.idle);
            let mut busy: Vec<_> = busy.filter(|s| s.instance.role == InstanceRole::Draining).collect();
            if busy.is_empty() {
                return world;
            }
            busy.iter_mut().for_each(|s| s.idle = true);
            continue;
        }
        let before = lives(&world);
        for one in moves.iter().take(alive) {
            apply(&mut world, one);
            assert!(lives(&world) <= before.max(1), "{moves:?}");
        }
    }
    panic!("does not settle: {world:?}");
}

fn check_settled(start: &World, end: &World) {
    let Some(release) = start.release_to_keep() else {
        assert!(end.instances.is_empty(), "{start:?} ended as {end:?}");
        let live = matches!(end.state, ServiceState::Live { .. } | ServiceState::Unhealthy { .. });
        assert!(!live, "{start:?} ended as {end:?}");
        return;
    };
    assert_eq!(end.state, ServiceState::Live { release }, "{start:?}");
    let [only] = &end.instances[..] else {
        panic!("{start:?} ended as {end:?}");
    };
    assert!(matches!(only.seen, Seen::Running { .. }));
    let instance = &only.instance;
    assert_eq!((instance.role, instance.release, instance.failures), (InstanceRole::Live, release, 0));
    if let Seen::Running { endpoint: Some(endpoint) } = &only.seen {
        assert_eq!(instance.endpoint.as_ref(), Some(endpoint));
    }
}

fn check(world: World) {
    for alive in [1, 2, usize::MAX] {
        let end = settle(world.clone(), alive);
        check_settled(&world, &end);
    }
}

#[test]
fn no_instance_at_all() {
    each_world(&[], check);
}

#[test]
fn every_single_instance_settles() {
    for one in ways(1, false) {
        each_world(std::slice::from_ref(&one), check);
    }
}

#[test]
fn every_pair_of_instances_settles() {
    let (first, second) = (ways(1, true), ways(2, true));
    for one in &first {
        for other in &second {
            each_world(&[one.clone(), other.clone()], check);
        }
    }
}

#[test]
fn three_instances_keep_the_invariants() {
    let some = |n| {
        let mut ways = ways(n, true);
        ways.retain(|s| s.instance.failures == 0 || s.instance.role == InstanceRole::Draining);
        ways.retain(|s| !matches!(s.seen, Seen::Created | Seen::Running { endpoint: None }));
        ways
    };
    let policy = Policy::default();
    for one in some(1) {
        for other in some(2) {
            for third in some(3) {
                each_world(&[one.clone(), other.clone(), third], |world| {
                    let moves = next_moves(&world, &policy);
                    check_moves(&world, &moves);
                    assert_eq!(moves, next_moves(&world, &policy));
                });
            }
        }
    }
}
