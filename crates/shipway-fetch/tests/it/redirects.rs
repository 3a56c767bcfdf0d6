//! Redirects are followed a little, and trusted never.

use shipway_model::FailureCode::{FetchFailed, FetchRefused};

use crate::harness::{Act, Names, Origin, PUBLIC, World, say};

fn to(location: &str) -> Act {
    say(&format!("HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0\n\n"))
}

#[tokio::test]
async fn three_are_followed_and_a_fourth_is_not() {
    let fine = || vec![say("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi")];
    for (redirects, works) in [(0, true), (3, true), (4, false), (1000, false)] {
        let origin =
            Origin::start_with(
                PUBLIC,
                move |n| if n < redirects { vec![to(&format!("next/{n}.txt"))] } else { fine() },
            )
            .await;
        let world = World::new(Names::default());
        let given = origin.url("/d/start.sh");
        if works {
            let source = world.fetch(&given).await.unwrap();
            assert_eq!(source.url.as_ref(), Some(&given));
            let name = if redirects == 0 { "start.sh" } else { "2.txt" };
            assert_eq!(source.file_name.as_deref(), Some(name));
        } else {
            assert_eq!(world.fails(&given).await, (FetchFailed, "more than 3 redirects".to_owned()));
        }
        assert_eq!(origin.connections(), redirects.min(3) + 1);
    }
}

#[tokio::test]
async fn every_rule_holds_for_where_they_lead() {
    let secret = Origin::start("127.0.0.1", &[say("HTTP/1.1 200 OK\nContent-Length: 6\n\nsecret")]).await;
    let port = secret.port();
    let names = || Names::default().with("private.test", &[&["127.0.0.1"]]);
    for location in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("//0x7f.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://private.test:{port}/"),
        format!("http://user@{PUBLIC}:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:70/_x".to_owned(),
        "ftp://example.org/".to_owned(),
        "data:text/plain,hi".to_owned(),
        "javascript:alert(1)".to_owned(),
        "http://".to_owned(),
        format!("/{}", "a".repeat(2048)),
    ] {
        let origin = Origin::start(PUBLIC, &[to(&location)]).await;
        let (code, detail) = World::new(names()).fails(&origin.url("/")).await;
        assert_eq!(code, FetchRefused, "{location}: {detail}");
        assert_eq!(origin.connections(), 1);
    }
    assert_eq!(secret.connections(), 0);
}

#[tokio::test]
async fn a_private_port_of_a_public_host_is_no_way_in() {
    let origin = Origin::start(PUBLIC, &[to("http://example.test:22/")]).await;
    let names = Names::default().with("example.test", &[&["93.184.216.34"]]);
    let (code, detail) = World::new(names).fails(&origin.url("/")).await;
    assert_eq!((code, detail.as_str()), (FetchRefused, "port 22 is not fetched from; 80 and 443 are"));
}
