//! Nobody is connected to who should not be, however he is named.

use std::net::IpAddr;
use std::process::Command;

use shipway_model::FailureCode::{FetchFailed, FetchRefused};

use crate::harness::{Names, Origin, PUBLIC, World, say};

const PRIVATE: &str = "127.0.0.1";
const FINE: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi";

#[tokio::test]
async fn a_name_of_a_private_address_is_not_connected_to() {
    let secret = Origin::start(PRIVATE, &[say(FINE)]).await;
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "0.0.0.0", "::", "64:ff9b::7f00:1", "2002:7f00:1::"] {
        let world = World::new(Names::default().with("evil.test", &[&[address]]));
        let (code, detail) = world.fails(&format!("http://evil.test:{}/", secret.port())).await;
        assert_eq!(code, FetchRefused, "{detail}");
        let shown: IpAddr = address.parse().unwrap();
        assert!(detail.starts_with(&format!("{shown} is not fetched from: ")), "{detail}");
    }
    assert_eq!(secret.connections(), 0);
}

#[tokio::test]
async fn a_literal_is_refused_in_every_notation() {
    let secret = Origin::start(PRIVATE, &[say(FINE)]).await;
    let world = World::new(Names::default());
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:7f00:1]",
        "127.0.0.1.",
        "localhost",
        "localhost.",
        "x.localhost",
    ] {
        let (code, detail) = world.fails(&format!("http://{host}:{}/", secret.port())).await;
        assert_eq!(code, FetchRefused, "{host}: {detail}");
    }
    assert_eq!(secret.connections(), 0);
    assert_eq!(world.names.asked.lock().unwrap().len(), 0, "nothing was looked up");
}

#[tokio::test]
async fn one_bad_answer_among_good_ones_refuses_them_all() {
    let public = Origin::start(PUBLIC, &[say(FINE)]).await;
    for answers in [&[PUBLIC, PRIVATE][..], &[PRIVATE, PUBLIC], &[PUBLIC, "10.0.0.1"], &[PUBLIC, "::1"]] {
        let world = World::new(Names::default().with("mixed.test", &[answers]));
        let (code, detail) = world.fails(&format!("http://mixed.test:{}/", public.port())).await;
        assert_eq!(code, FetchRefused, "{detail}");
    }
    assert_eq!(public.connections(), 0);
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_its_answer_is_what_is_used() {
    let public = Origin::start(PUBLIC, &[say(FINE)]).await;
    // Whoever looks a second time gets the private address.
    let world = World::new(Names::default().with("rebind.test", &[&[PUBLIC], &[PRIVATE]]));
    let url = format!("http://rebind.test:{}/", public.port());
    world.fetch(&url).await.unwrap();
    assert_eq!((public.connections(), world.names.asked.lock().unwrap().len()), (1, 1));
    // The next download looks again, and is refused.
    let error = world.fetch(&url).await.unwrap_err();
    assert_eq!(error.code(), FetchRefused, "{error}");
    assert_eq!(public.connections(), 1);
}

#[tokio::test]
async fn a_rebinding_redirect_is_seen_through() {
    let public = Origin::start(PUBLIC, &[say("HTTP/1.1 302 Found\nLocation: /again\nContent-Length: 0\n\n")]).await;
    let world = World::new(Names::default().with("rebind.test", &[&[PUBLIC], &[PRIVATE]]));
    let (code, detail) = world.fails(&format!("http://rebind.test:{}/", public.port())).await;
    assert_eq!(code, FetchRefused, "{detail}");
    assert_eq!(public.connections(), 1);
}

#[tokio::test]
async fn ports_are_refused_unless_exempt() {
    let origin = Origin::start(PRIVATE, &[say(FINE)]).await;
    let pair = origin.address.to_string();
    let names = || Names::default().with("a.test", &[&[PRIVATE]]).with("b.test", &[&["127.0.0.2"]]);
    // The pair is exempt, by number and by a name of it, and nothing else is.
    let world = World::with(names(), |config| config.allow = pair.parse().unwrap());
    world.fetch(&origin.url("/")).await.unwrap();
    world.fetch(&format!("http://a.test:{}/", origin.port())).await.unwrap();
    for url in [
        format!("http://b.test:{}/", origin.port()),
        "http://127.0.0.1/".to_owned(),
        "http://a.test:81/".to_owned(),
        "http://a.test/".to_owned(),
    ] {
        assert_eq!(world.fetch(&url).await.unwrap_err().code(), FetchRefused, "{url}");
    }
    assert_eq!(origin.connections(), 2);
    let world = World::with(names(), |config| config.allow = "".parse().unwrap());
    let error = world.fetch(&origin.url("/")).await.unwrap_err();
    assert_eq!(error.hint(), Some(format!("an operator can exempt it: fetch.allow={pair}")));
}

#[tokio::test]
async fn who_cannot_be_found_or_reached_is_said_so() {
    let world = World::new(Names::default().with("nothing.test", &[&[]]));
    assert_eq!(
        world.fails("http://unknown.test/").await,
        (FetchFailed, "`unknown.test` cannot be looked up: no such name".to_owned())
    );
    assert_eq!(world.fails("http://nothing.test/").await, (FetchFailed, "`nothing.test` has no address".to_owned()));
    let closed = std::net::TcpListener::bind((PUBLIC, 0)).unwrap().local_addr().unwrap();
    let (code, detail) = world.fails(&format!("http://{closed}/")).await;
    assert_eq!(code, FetchFailed);
    assert!(detail.contains("cannot connect to"), "{detail}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let origin = Origin::start(PUBLIC, &[say(FINE)]).await;
    let world = World::new(Names::default().with("two.test", &[&["127.1.0.2", PUBLIC]]));
    world.fetch(&format!("http://two.test:{}/", origin.port())).await.unwrap();
}

/// Set in the copy of this test that runs in a network namespace of its own.
const INSIDE: &str = "SHIPWAY_TEST_OWN_ADDRESS";

/// In a namespace whose only interface has a public address, that address is ours.
#[test]
fn a_public_address_of_our_own_is_not_connected_to() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "addresses::a_public_address_of_our_own_is_not_connected_to";
        let status = Command::new("unshare")
            .args([
                "--net",
                "/bin/sh",
                "-c",
                "ip link set lo up && ip address add 11.22.33.44/32 dev lo && exec \"$0\" \"$@\"",
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let own = Origin::start("11.22.33.44", &[say(FINE)]).await;
        let port = own.port();
        let world =
            World::with(Names::default().with("ours.test", &[&["11.22.33.44"]]), |config| config.ports = vec![port]);
        for host in ["ours.test", "11.22.33.44"] {
            let (code, detail) = world.fails(&format!("http://{host}:{port}/")).await;
            assert_eq!(code, FetchRefused);
            assert_eq!(detail, "11.22.33.44 is not fetched from: an address of this host's own");
        }
        assert_eq!(own.connections(), 0);
        // Were it not ours, it would be reached: an operator's word is enough.
        let world = World::with(Names::default(), |config| config.allow = own.address.to_string().parse().unwrap());
        world.fetch(&own.url("/")).await.unwrap();
        assert_eq!(own.connections(), 1);
    });
}
