//! The smuggling grid: some two hundred requests that servers are known to read in
//! different ways, each in front of real origins. The proxy and the origin must
//! always agree on which requests there were: every request that an origin has seen
//! is one that the proxy has sent, under the id it gave it, and none is seen twice.

mod cases;
mod origins;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::*;
use origins::RealOrigin;

/// Visitors at a time.
const VISITORS: usize = 8;

/// One request: method, path without its query, id.
type Seen = (String, String, String);

/// What the proxy says it has carried, by id.
fn of_proxy(world: &World) -> BTreeMap<String, Seen> {
    let log = world.log();
    let field = |line: &str, name: &str| {
        let start = line.find(&format!(" {name}="))? + name.len() + 2;
        line[start..].split(' ').next().map(str::to_owned)
    };
    log.lines()
        .filter(|line| line.contains(": request request.id="))
        .map(|line| {
            let id = field(line, "request.id").unwrap();
            let seen = (field(line, "method").unwrap(), field(line, "path").unwrap(), id.clone());
            (id, seen)
        })
        .collect()
}

/// How many requests the proxy has sent that were answered with a 400.
fn refused_by_origin(world: &World) -> usize {
    world.log().lines().filter(|line| line.contains("service.name=hello") && line.contains(" status=400 ")).count()
}

/// A line of nginx's for a request it would not even read: `get /`, `OPTIONS *`.
const NAMELESS: &str = " - -";

/// What the origin says it has seen.
fn of_origin(text: &str) -> Vec<Seen> {
    text.lines()
        .filter(|line| !line.ends_with(NAMELESS))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [method, target, id] = words[..] else { panic!("the origin saw {line:?}") };
            let path = target.split('?').next().unwrap();
            (method.to_owned(), path.to_owned(), id.to_owned())
        })
        .collect()
}

/// Sends every case with a good request behind it, and returns the ids of all answers
/// that came from the origin, and how many were refused.
fn send_all(world: &World) -> (BTreeSet<String>, usize) {
    let cases = cases::all();
    let (next, refused, ids) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..VISITORS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = converse(world, case);
                    if ["400", "405", "408", "417", "431", "501", "505"]
                        .iter()
                        .any(|code| answer.contains(&format!("HTTP/1.1 {code} ")))
                    {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    let mut ids = ids.lock().unwrap();
                    for seen in answer.split("seen ").skip(1).filter_map(|seen| seen.split(';').next()) {
                        let id = seen.rsplit(' ').next().unwrap().to_owned();
                        assert!(ids.insert(id), "answered twice: {case:?}: {answer}");
                    }
                }
            });
        }
    });
    (ids.into_inner().unwrap(), refused.into_inner())
}

fn converse(world: &World, case: &[u8]) -> String {
    let mut visitor = world.connect();
    let mut bytes = case.to_vec();
    bytes.extend(b"GET /after HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n");
    visitor.write_all(&bytes).ok();
    read_to_end(&mut visitor)
}

fn agrees(origin: RealOrigin) {
    for fast_path in [true, false] {
        let world = World::debugging(|settings| {
            settings.fast_path = fast_path;
            settings.limits.header_time = Duration::from_millis(300);
            settings.limits.body_idle = Duration::from_millis(300);
        });
        let running = origin.start(&world);
        let (answered, refused) = send_all(&world);
        // The log's line is written when an answer is over; the origin's, too.
        let is_whole = |seen: &[Seen]| answered.iter().all(|id| seen.iter().any(|one| one.2 == *id));
        wait_until("the origin has written its log", || is_whole(&of_origin(&running.log())));
        assert!(world.runtime.block_on(world.feed.wait_idle(&running.endpoint, LIMIT)));
        wait_until("no connection is left", || world.metric("open_connections") == 0);
        let (seen, sent) = (of_origin(&running.log()), of_proxy(&world));
        let mut ids = BTreeSet::new();
        for one in &seen {
            let ours = sent.get(&one.2).map(|(method, path, id)| (method.clone(), origin.reads(path), id.clone()));
            assert_eq!(ours.as_ref(), Some(one), "{origin:?} has seen what the proxy has not sent");
            assert!(ids.insert(one.2.clone()), "{origin:?} has seen {one:?} twice");
        }
        let nameless = running.log().lines().filter(|line| line.ends_with(NAMELESS)).count();
        assert!(
            nameless <= refused_by_origin(&world),
            "{origin:?} has refused {nameless} that the proxy does not know"
        );
        // The grid is none if everything is refused, or nothing.
        assert!(answered.len() > 60 && refused > 90, "{origin:?}: {} answered, {refused} refused", answered.len());
    }
}

#[test]
fn nginx_and_the_proxy_agree() {
    agrees(RealOrigin::Nginx);
}

#[test]
fn python_and_the_proxy_agree() {
    agrees(RealOrigin::Python);
}

#[test]
fn node_and_the_proxy_agree() {
    agrees(RealOrigin::Node);
}

#[test]
fn go_and_the_proxy_agree() {
    agrees(RealOrigin::Go);
}
