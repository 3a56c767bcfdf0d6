//! Which moves, now.
//!
//! ```text
//!             ┌──────────────── revive, after the back-off ───────────────┐
//!             ▼                                                           │
//! (nothing) ─► live, running ── dies ──► live, ended ── bury ──► grave ───┤
//!                  │                                               ▲      │ successor
//!                  │ retire, or another was published              │      ▼ well for long
//!                  ▼                                                (one  discard
//!              draining ── idle ──► drain ──► (gone)                 kept)
//! ```

use std::time::Duration;

use shipway_model::{InstanceRole, Micros, ServiceState, Wanted};

use crate::{Move, Policy, Seen, Sight, World};

/// Returns what to do now, in order; empty when the service is as wanted and needs
/// no look at any known time. A [`Move::Wait`] comes last, if at all.
#[must_use]
pub fn next_moves(world: &World, policy: &Policy) -> Vec<Move> {
    match world.release_to_keep() {
        Some(release) => keep(world, release, policy),
        None => take_down(world),
    }
}

/// Nothing should run.
fn take_down(world: &World) -> Vec<Move> {
    let mut moves = Vec::new();
    if let (Wanted::Stopped, ServiceState::Live { release } | ServiceState::Unhealthy { release, .. }) =
        (world.wanted, &world.state)
    {
        moves.push(Move::MarkStopped { release: *release });
    }
    moves.extend(world.instances.iter().map(|sight| {
        let container = sight.instance.container;
        match sight.instance.role {
            InstanceRole::Live => Move::Retire { container },
            InstanceRole::Draining if sight.is_running() => Move::Drain { container },
            InstanceRole::Draining | InstanceRole::Candidate => Move::Discard { container },
        }
    }));
    moves
}

/// `release` should have exactly one live instance.
fn keep(world: &World, release: u32, policy: &Policy) -> Vec<Move> {
    let live = the_live_one(world, release);
    let grave = newest_grave(world, release);
    let mut moves = leftovers(world, live, grave);
    let no_live_row = !world.instances.iter().any(|s| s.is(InstanceRole::Live));
    match live {
        Some(sight) if sight.is_running() => moves.extend(look_after(world, sight, grave, policy)),
        Some(sight) => {
            moves.push(bury(sight, policy));
            // Only now: of two graves a worker that dies here leaves, the younger counts.
            moves.extend(grave.map(discard));
        }
        None if no_live_row => moves.extend(bring_back(world, release, grave, policy)),
        // A live row of another release is being retired; then we are asked again.
        None => {}
    }
    moves.sort_by_key(|one| !one.is_due());
    moves
}

/// The row that is, or was until it died, the live one: a running one before a
/// dead one, a younger before an older.
fn the_live_one(world: &World, release: u32) -> Option<&Sight> {
    world.instances.iter().filter(|sight| sight.is(InstanceRole::Live) && sight.instance.release == release).max_by_key(
        |sight| {
            let instance = &sight.instance;
            (sight.is_running(), instance.started_at, instance.container)
        },
    )
}

fn newest_grave(world: &World, release: u32) -> Option<&Sight> {
    world
        .instances
        .iter()
        .filter(|sight| sight.is_grave_of(release))
        .max_by_key(|sight| (sight.instance.started_at, sight.instance.failures))
}

const fn discard(sight: &Sight) -> Move {
    let container = sight.instance.container;
    Move::Discard { container }
}

/// Everything that is neither the live instance nor the grave worth keeping.
fn leftovers(world: &World, live: Option<&Sight>, grave: Option<&Sight>) -> Vec<Move> {
    let spared = |sight: &Sight| {
        [live, grave].into_iter().flatten().any(|kept| kept.instance.container == sight.instance.container)
    };
    world
        .instances
        .iter()
        .filter(|sight| !spared(sight))
        .filter_map(|sight| {
            let container = sight.instance.container;
            match sight.instance.role {
                InstanceRole::Live => Some(Move::Retire { container }),
                InstanceRole::Draining if sight.is_running() => sight.idle.then_some(Move::Drain { container }),
                InstanceRole::Draining | InstanceRole::Candidate => Some(Move::Discard { container }),
            }
        })
        .collect()
}

/// The live container runs. After a while of good health the past is forgotten.
fn look_after(world: &World, live: &Sight, grave: Option<&Sight>, policy: &Policy) -> Vec<Move> {
    let mut moves = Vec::new();
    let container = live.instance.container;
    if let Seen::Running { endpoint: Some(endpoint) } = &live.seen
        && live.instance.endpoint.as_ref() != Some(endpoint)
    {
        let endpoint = endpoint.clone();
        moves.push(Move::Adopt { container, endpoint });
    }
    let sick = matches!(world.state, ServiceState::Unhealthy { .. });
    if live.instance.failures == 0 && !sick && grave.is_none() {
        return moves;
    }
    let well_at = wait_from(live.instance.started_at, policy.forget_after, world.now);
    if well_at > world.now {
        moves.push(Move::Wait { until: well_at });
        return moves;
    }
    if live.instance.failures > 0 {
        moves.push(Move::Forgive { container });
    }
    if sick {
        moves.push(Move::MarkLive { release: live.instance.release });
    }
    moves.extend(grave.map(|grave| Move::Discard { container: grave.instance.container }));
    moves
}

/// The live container has ended by itself.
fn bury(dead: &Sight, policy: &Policy) -> Move {
    let instance = &dead.instance;
    let (how, ended_at) = match &dead.seen {
        Seen::Ended { how, at } => (how.clone(), *at),
        Seen::Created => ("never started".to_owned(), None),
        // Running is looked after elsewhere; absent is what remains.
        Seen::Absent | Seen::Running { .. } => ("lost: the engine does not know it".to_owned(), None),
    };
    let was_well = match (instance.started_at, ended_at) {
        (Some(start), Some(end)) => end.saturating_sub(start) >= micros(policy.forget_after),
        _ => false,
    };
    let before = if was_well { 0 } else { instance.failures };
    Move::Bury { container: instance.container, release: instance.release, how, failures: before.saturating_add(1) }
}

/// No live row: start another container, but not before its back-off is over.
fn bring_back(world: &World, release: u32, grave: Option<&Sight>, policy: &Policy) -> Vec<Move> {
    let Some(grave) = grave else {
        return vec![Move::Revive { release, failures: 0 }];
    };
    let failures = grave.instance.failures;
    let mut moves = Vec::new();
    if failures >= policy.crash_loop_from && matches!(world.state, ServiceState::Live { .. }) {
        moves.push(Move::MarkUnhealthy { container: grave.instance.container, release, failures });
    }
    let wait = policy.restart_wait(failures);
    let due = wait_from(grave.died_at(), wait, world.now);
    moves.push(if due > world.now { Move::Wait { until: due } } else { Move::Revive { release, failures } });
    moves
}

/// When a wait that began at `start` is over. A start in the near future is another
/// host's clock going ahead; one farther off than the wait itself means that a clock
/// was set back, and half a minute must not turn into a day: such a wait, and one
/// whose start nobody knows, is over.
fn wait_from(start: Option<Micros>, wait: Duration, now: Micros) -> Micros {
    let wait = micros(wait);
    match start {
        Some(start) if start <= now.saturating_add(wait) => start.saturating_add(wait),
        _ => now,
    }
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
