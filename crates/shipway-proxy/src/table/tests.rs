use std::sync::atomic::AtomicBool;

use super::*;

fn live(path: &str) -> RouteState {
    RouteState::Live { endpoint: endpoint(path) }
}

fn endpoint(path: &str) -> Endpoint {
    Endpoint::Unix { path: path.to_owned() }
}

fn route(id: &str, name: &str, state: RouteState) -> Route {
    let labels = vec![id.to_owned(), name.to_owned()];
    Route::new(id.to_owned(), name.to_owned(), labels, state)
}

fn goes_to(table: &Table, label: &str) -> String {
    match table.find(label) {
        None => "nothing".to_owned(),
        Some(service) => match service.lease(10) {
            Found::Lease(lease) => match lease.upstream().endpoint() {
                Endpoint::Unix { path } | Endpoint::Dialer { path, .. } => path,
            },
            Found::Full => "full".to_owned(),
            Found::Not(target) => format!("{:?}", **target),
        },
    }
}

#[test]
fn a_service_is_found_by_each_of_its_labels() {
    let table = Table::default();
    table.upsert(&route("id1", "hello", live("/a")));
    assert_eq!(goes_to(&table, "id1"), "/a");
    assert_eq!(goes_to(&table, "hello"), "/a");
    assert_eq!(goes_to(&table, "other"), "nothing");
    table.upsert(&route("id1", "renamed", live("/b")));
    assert_eq!(goes_to(&table, "id1"), "/b");
    assert_eq!(goes_to(&table, "renamed"), "/b");
    assert_eq!(goes_to(&table, "hello"), "nothing");
    assert_eq!(table.len(), 1);
    table.remove("id1");
    assert_eq!(goes_to(&table, "id1"), "nothing");
    assert_eq!(table.len(), 0);
}

#[test]
fn a_route_without_its_id_among_its_labels_is_still_found_by_it() {
    let table = Table::default();
    let mut route = route("id1", "hello", RouteState::Stopped);
    route.labels = vec!["hello".to_owned(), "hello".to_owned()];
    table.upsert(&route);
    assert_eq!(goes_to(&table, "id1"), "Stopped");
    assert_eq!(goes_to(&table, "hello"), "Stopped");
    table.remove("id1");
    assert_eq!(goes_to(&table, "hello"), "nothing");
}

#[test]
fn a_label_taken_over_survives_its_first_owner() {
    let table = Table::default();
    table.upsert(&route("id1", "hello", live("/a")));
    table.upsert(&route("id2", "hello", live("/b")));
    table.remove("id1");
    assert_eq!(goes_to(&table, "hello"), "/b");
}

#[test]
fn a_snapshot_replaces_everything_and_keeps_what_stays() {
    let table = Table::default();
    table.upsert(&route("id1", "one", live("/a")));
    table.upsert(&route("id2", "two", live("/b")));
    let before = table.find("one").unwrap();
    let snapshot = table.begin_snapshot();
    table.upsert_in(snapshot, &route("id1", "one", live("/a")));
    table.upsert_in(snapshot, &route("id3", "three", live("/c")));
    assert_eq!(goes_to(&table, "two"), "/b", "until the end nothing is lost");
    table.end_snapshot(snapshot);
    assert!(Arc::ptr_eq(&before, &table.find("id1").unwrap()));
    assert_eq!(goes_to(&table, "two"), "nothing");
    assert_eq!(goes_to(&table, "three"), "/c");
    let mut seen = Vec::new();
    table.for_each_route(|route| seen.push(route.service_id));
    seen.sort();
    assert_eq!(seen, ["id1", "id3"]);
}

#[test]
fn limits_and_labels_of_its_own_survive() {
    let table = Table::default();
    let mut own = route("id1", "one", live("/a"));
    own.limits.concurrency = Some(7);
    own.labels = vec!["id1".to_owned()];
    table.upsert(&own);
    let mut seen = Vec::new();
    table.for_each_route(|route| seen.push(route));
    assert_eq!(seen, [own]);
    assert_eq!(goes_to(&table, "one"), "nothing");
}

#[test]
fn thousands_of_labels_are_all_found() {
    let table = Table::default();
    let name = |n: usize| (format!("id{n}"), format!("name{n}"));
    for n in 0..20_000 {
        table.upsert(&route(&name(n).0, &name(n).1, live(&format!("/{n}"))));
    }
    for n in (0..20_000).step_by(2) {
        table.remove(&name(n).0);
    }
    for n in 0..20_000 {
        let expected = if n % 2 == 0 { "nothing".to_owned() } else { format!("/{n}") };
        assert_eq!(goes_to(&table, &name(n).0), expected);
        assert_eq!(goes_to(&table, &name(n).1), expected);
    }
    assert_eq!(table.len(), 10_000);
}

#[test]
fn an_endpoint_counts_its_requests_after_it_was_replaced() {
    let table = Table::default();
    table.upsert(&route("id1", "one", live("/a")));
    let service = table.find("one").unwrap();
    let Found::Lease(lease) = service.lease(1) else { panic!("expected a lease") };
    assert!(matches!(service.lease(1), Found::Full));
    table.upsert(&route("id1", "one", live("/b")));
    assert_eq!(table.in_flight(&endpoint("/a")), 1);
    assert_eq!(table.in_flight(&endpoint("/b")), 0);
    drop(lease);
    assert_eq!(table.in_flight(&endpoint("/a")), 0);
}

/// The invariant of this file, hammered: whenever the writer has switched and
/// reads zero for the old endpoint, no reader ever starts on it afterwards.
#[test]
fn zero_in_flight_after_a_switch_means_nobody_comes() {
    let table = Table::default();
    let closed: Vec<AtomicBool> = (0..500).map(|_| AtomicBool::new(false)).collect();
    table.upsert(&route("id1", "one", live("0")));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let service = table.find("one").unwrap();
                    if let Found::Lease(lease) = service.lease(100) {
                        let Endpoint::Unix { path } = lease.upstream().endpoint() else { unreachable!() };
                        let n: usize = path.parse().unwrap();
                        assert!(!closed[n].load(Ordering::SeqCst), "came to closed endpoint {n}");
                    }
                }
            });
        }
        for n in 1..closed.len() {
            table.upsert(&route("id1", "one", live(&n.to_string())));
            let old = endpoint(&(n - 1).to_string());
            if table.in_flight(&old) == 0 {
                closed[n - 1].store(true, Ordering::SeqCst);
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}
