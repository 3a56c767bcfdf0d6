//! The runner `nginx` in a real container: real nginx and fcgiwrap of this host, under the
//! engine's own rules for users, capabilities and system calls.

use shipway_driver::{Driver, DriverError, Program, Workload};
use shipway_driver_embedded::EmbeddedDriver;
use shipway_model::{ContentKind, Runner};

use crate::service::{ask, clear, post, workload};
use crate::world::World;

async fn served(driver: &EmbeddedDriver, kind: ContentKind) -> Workload {
    let mut workload = workload(driver, kind).await;
    if let Program::Runner { runner, .. } = &mut workload.program {
        *runner = Runner::Nginx;
    }
    workload.limits.concurrency = 2;
    workload
}

/// What a script sees of the others, and what it can do to them.
const NOSY: &str = r#"#!/bin/sh
echo $GREETING; id -u; echo data > /data/mine && cat /data/mine
echo to the log >&2
for process in /proc/[0-9]*; do
    name=$(tr '\0' ' ' < $process/cmdline)
    sed -n 's/^Uid:\t\([0-9]*\).*/user \1/p; s/^CapPrm:\t/may /p' $process/status | tr '\n' ' '
    echo "is ${name%% *}"
done
kill -9 1 2> /dev/null && echo killed the first
for pid in $(pgrep nginx); do
    kill -9 $pid 2> /dev/null && echo killed nginx
    ls /proc/$pid/fd > /dev/null 2>&1 && echo looked into nginx
    ( : >> /proc/$pid/mem ) 2> /dev/null && echo opened its memory
done
for pid in $PPID $(pgrep fcgiwrap); do
    ( : >> /proc/$pid/mem ) 2> /dev/null && echo opened the memory of $pid
    ls /proc/$pid/fd > /dev/null 2>&1 && echo looked into $pid
done
( : >> /proc/1/mem ) 2> /dev/null && echo opened the memory of the first
ls /proc/1/fd > /dev/null 2>&1 && echo looked into the first
( : >> /run/shipway/nginx.conf ) 2> /dev/null && echo wrote the configuration
[ -w /run/shipway/fcgi ] && echo could speak to fcgiwrap
rm -rf /run/shipway/work /run/shipway/fcgi 2> /dev/null && echo removed
exit 0
"#;

#[tokio::test]
async fn a_file_and_a_script_are_served_and_kept_apart() {
    let world = World::with_nginx();
    let driver = world.open().await;
    let page = world.content("page", "a page\n");
    let file = served(&driver, ContentKind::Static).await;
    let endpoint = driver.start(&file, Some(&page)).await.unwrap().endpoint.unwrap();
    let probe = ask(&endpoint, "OPTIONS *").await;
    assert!(probe.starts_with("HTTP/1.1 204"), "{probe}");
    let answer = ask(&endpoint, "GET /").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("a page\n"), "{answer}");
    assert!(answer.contains("Server: nginx"), "{answer}");

    let nosy = world.content("nosy", NOSY);
    let script = served(&driver, ContentKind::Script).await;
    let endpoint = driver.start(&script, Some(&nosy)).await.unwrap().endpoint.unwrap();
    assert!(ask(&endpoint, "OPTIONS *").await.starts_with("HTTP/1.1 204"));
    let answer = ask(&endpoint, "GET /").await;
    let (_, told) = answer.split_once("\r\n\r\n").unwrap();
    assert!(told.starts_with("good day\n1000\ndata\n"), "{answer}");
    // Who is who: one root with three capabilities, nginx with none, fcgiwrap with none.
    for line in [
        "user 0 may 00000000000000e0 is /.shipway/runner",
        "user 1001 may 0000000000000000 is nginx:",
        "user 1000 may 0000000000000000 is /run/shipway/fcgiwrap",
        "user 1000 may 0000000000000000 is /run/shipway/shipway-cgi",
        "user 1000 may 0000000000000000 is /bin/sh",
    ] {
        assert!(told.contains(line), "{line}: {answer}");
    }
    assert!(told.lines().last().unwrap().contains(" is "), "it did more than look: {answer}");

    clear(&driver, file.container).await;
    clear(&driver, script.container).await;
    world.finish(driver).await;
}

/// Processes that wait for a connection together: so many may take one with them.
const DYING_MAX: usize = 16;

#[tokio::test]
async fn a_script_that_kills_all_it_can_hurts_its_own_requests_only() {
    let world = World::with_nginx();
    let driver = world.open().await;
    let killer = world.content("killer", "#!/bin/sh\n[ $PATH_INFO = /kill ] && kill -9 -1\necho alive\n");
    let script = served(&driver, ContentKind::Script).await;
    let endpoint = driver.start(&script, Some(&killer)).await.unwrap().endpoint.unwrap();
    for _ in 0..3 {
        let answer = ask(&endpoint, "GET /kill").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        // Whoever accepts the next one may have been killed already, and not know it yet.
        let mut answer = ask(&endpoint, "GET /").await;
        for _ in 0..DYING_MAX {
            if !answer.starts_with("HTTP/1.1 502") {
                break;
            }
            answer = ask(&endpoint, "GET /").await;
        }
        assert!(answer.ends_with("alive\n"), "{answer}");
    }
    clear(&driver, script.container).await;
    world.finish(driver).await;
}

#[tokio::test]
async fn a_body_that_finds_no_room_is_told_so() {
    let world = World::with_nginx();
    let driver = world.open().await;
    let deaf = world.content("deaf", "#!/bin/sh\nsleep 20\n");
    let mut script = served(&driver, ContentKind::Script).await;
    script.limits.disk_bytes = 256 << 10;
    let endpoint = driver.start(&script, Some(&deaf)).await.unwrap().endpoint.unwrap();
    let body = "x".repeat(600 << 10);
    let answer = post(&endpoint, &body).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("has no room"), "{answer}");
    // What waited is gone with its request.
    let answer = post(&endpoint, &body).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    clear(&driver, script.container).await;
    world.finish(driver).await;
}

#[tokio::test]
async fn without_its_packages_it_says_what_to_install() {
    let world = World::new();
    let driver = world.open().await;
    let page = world.content("page", "a page\n");
    let mut file = served(&driver, ContentKind::Static).await;
    let refused = driver.start(&file, Some(&page)).await.unwrap_err();
    let DriverError::Invalid(detail) = &refused else {
        panic!("not permanent: {refused:?}");
    };
    assert!(detail.contains("nginx and fcgiwrap") && detail.contains("apt-get install -y nginx-light"), "{detail}");
    file.limits.pids = 6;
    assert!(driver.start(&file, Some(&page)).await.is_err());
    world.finish(driver).await;
}
