//! A worker made of plain data: carries moves out on a [`World`].

use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, Instance, InstanceRole, Micros, ServiceId, ServiceState};
use shipway_plan::{Move, Seen, Sight, World};
use uuid::Uuid;

pub(crate) const SECOND: Micros = 1_000_000;

/// The `n`th container; 1 is `a` in stories.
pub(crate) fn container(n: u128) -> ContainerId {
    ContainerId(Uuid::from_u128(n))
}

pub(crate) fn endpoint_of(container: ContainerId) -> Endpoint {
    Endpoint::Unix { path: format!("/run/{container}") }
}

pub(crate) fn sight(n: u128, role: InstanceRole, release: u32, seen: Seen) -> Sight {
    let container = container(n);
    Sight {
        instance: Instance {
            container,
            service: ServiceId(Uuid::from_u128(7)),
            release,
            role,
            endpoint: Some(endpoint_of(container)),
            failures: 0,
            started_at: Some(0),
            handle: None,
        },
        seen,
        idle: false,
    }
}

pub(crate) fn running(n: u128) -> Seen {
    Seen::Running { endpoint: Some(endpoint_of(container(n))) }
}

/// Makes one move. Every start succeeds.
pub(crate) fn apply(world: &mut World, one: &Move) {
    match one {
        Move::MarkStopped { release } => {
            world.state = ServiceState::Stopped { release: Some(*release) };
        }
        Move::Discard { container } | Move::Drain { container } => {
            world.instances.retain(|s| s.instance.container != *container);
        }
        Move::Retire { container } => row(world, *container).instance.role = InstanceRole::Draining,
        Move::Bury { container, failures, .. } => {
            let instance = &mut row(world, *container).instance;
            instance.role = InstanceRole::Draining;
            instance.endpoint = None;
            instance.failures = *failures;
        }
        Move::MarkUnhealthy { release, .. } => {
            world.state = ServiceState::Unhealthy { release: *release, reason: String::new() };
        }
        Move::Revive { release, failures } => revive(world, *release, *failures),
        Move::Adopt { container, endpoint } => row(world, *container).instance.endpoint = Some(endpoint.clone()),
        Move::Forgive { container } => row(world, *container).instance.failures = 0,
        Move::MarkLive { release } => world.state = ServiceState::Live { release: *release },
        Move::Wait { until } => world.now = *until,
    }
}

fn revive(world: &mut World, release: u32, failures: u32) {
    let used = world.instances.iter();
    let n = used.map(|s| s.instance.container.0.as_u128()).max();
    let n = n.unwrap_or(0) + 1;
    let mut newcomer = sight(n, InstanceRole::Live, release, running(n));
    newcomer.instance.failures = failures;
    newcomer.instance.started_at = Some(world.now);
    world.instances.push(newcomer);
}

fn row(world: &mut World, container: ContainerId) -> &mut Sight {
    world
        .instances
        .iter_mut()
        .find(|s| s.instance.container == container)
        .expect("a move names an instance of the world")
}
