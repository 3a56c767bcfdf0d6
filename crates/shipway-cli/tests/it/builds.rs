//! Builds at the command line.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;

use crate::typed::{typed, typed_into_nothing, typed_until};
use crate::world::World;
use crate::world::builder::bytes_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_built_and_written_whole() {
    let (world, folder) = (World::start().await, tempfile::tempdir().unwrap());
    let to = folder.path().join("caddy");
    let line = format!("caddy build --with example.com/good --os linux --arch amd64 -o {}", to.display());
    let built = typed(&world, &line).await;
    assert_eq!(built.code, 0, "{built:?}");
    assert!(built.err.contains("compile: done (0.0 s)") && built.err.contains("caddy/v2@v2.11.9"), "{built:?}");
    let listed: Value = serde_json::from_str(&typed(&world, "builds --json").await.out).unwrap();
    let (id, key) = (listed[0]["id"].as_str().unwrap(), listed[0]["key"].as_str().unwrap());
    assert_eq!(std::fs::read(&to).unwrap(), bytes_of(key));
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(typed(&world, &format!("build logs {id} -f")).await.out, "go: building\nand so on\n");
    let again = typed(&world, &format!("build rebuild {id}")).await;
    assert!(again.code == 0 && again.out.contains(" is "), "{again:?}");
    let table = typed(&world, "builds --recipe caddy").await.out;
    assert!(table.lines().count() == 3 && table.contains("caddy v2.11.9  linux/amd64  1"), "{table}");
    let k6 = typed(&world, "k6 build v1.8.1 --os linux --arch arm64 --detach -q").await;
    let shown: Value =
        serde_json::from_str(&typed(&world, &format!("build show {}", k6.out.trim())).await.out).unwrap();
    assert_eq!(shown["program"], "go.k6.io/k6@v1.8.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built_says_why() {
    let (world, folder) = (World::start().await, tempfile::tempdir().unwrap());
    let to = folder.path().join("caddy");
    let line = format!("caddy build --with example.com/broken --os linux --arch amd64 -o {}", to.display());
    let built = typed(&world, &line).await;
    assert_eq!(built.code, 1);
    assert!(built.err.contains("the build failed: it does not compile\n  broken.go:3:1: syntax error\n"), "{built:?}");
    assert!(built.err.contains("hint: `shipway build logs "), "{built:?}");
    assert!(!to.exists());
    let unknown = typed(&world, "caddy build --with example.com/nothing --os linux --arch amd64").await;
    assert!(unknown.code == 1 && unknown.err.contains("example.com/nothing"), "{unknown:?}");
    assert_eq!(typed(&world, "build cancel 3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb").await.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_tells_each_change_and_ends_with_its_reader() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let asked = typed(&world, "caddy build --with example.com/broken --os linux --arch amd64 --detach -q").await;
    let id = asked.out.trim().to_owned();
    let watched = typed_until(&world, "builds --watch", |out| {
        if out.contains("pending") {
            world.at_builds.send_replace(true);
        }
        out.contains("failed")
    });
    let out = tokio::time::timeout(Duration::from_secs(60), watched).await.unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("{id}  pending    caddy v2.11.9  linux/amd64"), "{out}");
    let end = format!("{id}  failed     caddy v2.11.9  linux/amd64  it does not compile");
    assert_eq!(lines[lines.len() - 1], end, "{out}");
    let gone = typed_into_nothing(&world, "builds --watch");
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap(), 0);
}
