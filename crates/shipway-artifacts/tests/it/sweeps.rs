//! Uploads that nobody goes on with.

use std::time::Duration;

use shipway_testkit::s3::{Fault, Proxy, Seen};

use crate::fixtures::{MIB, World, collect, content, fresh_name};
use crate::servers::Server;

async fn behind(server: &Server) -> (World, Proxy) {
    let proxy = Proxy::before(server.address).await;
    (World::new(server.name, server.bucket(&fresh_name(), proxy.address)).await, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_journal_is_ended_where_the_server_tells_of_it() {
    for server in Server::both() {
        let (world, proxy) = behind(server).await;
        let content = content(20 * MIB, 1);
        let file = world.file("file", &content);
        proxy.order(u32::MAX, Fault::Refuse, Seen::is_completion);
        assert!(world.artifacts.put(&file).await.unwrap_err().is_transient());
        proxy.calm();

        // Moto says of each upload that it began in 2010, so none is too young here.
        let swept = world.artifacts.sweep(Duration::from_secs(3600)).await.unwrap();
        let again = world.artifacts.sweep(Duration::ZERO).await.unwrap();
        let tells = server.name == "moto";
        assert_eq!((swept.ended, again.ended), (u64::from(tells), 0), "{}", server.name);
        assert_eq!(swept.listed, tells);

        // The journal knows nothing of that. Moto fails instead of saying that it does not know the upload.
        let mut failures = 0;
        let stored = loop {
            match world.artifacts.put(&file).await {
                Ok(stored) => break stored,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            failures += 1;
            assert!(failures <= 3, "it never began anew");
        };
        let (read, error) = collect(world.artifacts.read(&stored, None).await.unwrap()).await;
        assert!(error.is_none() && read == content, "{error:?}");
        assert_eq!(proxy.count(Seen::is_beginning), if tells { 2 } else { 1 });
        assert_eq!(world.artifacts.sweep(Duration::ZERO).await.unwrap().ended, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_not_one_that_does_not_tell() {
    let (world, proxy) = behind(Server::s3s()).await;
    proxy.order(u32::MAX, Fault::SlowDown, |_| true);
    assert!(world.artifacts.sweep(Duration::ZERO).await.unwrap_err().is_transient());
}
