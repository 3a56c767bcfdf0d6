//! Exec, typed: bytes through, and the command's own status.

use crate::typed::{typed, typed_at};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_status_is_ours() {
    let world = World::start().await;
    world.deploy("hello").await;
    for (line, code) in [
        ("exec hello -- exit 0", 0),
        ("exec hello -- exit 7", 7),
        ("exec hello exit 127", 127),
        ("exec hello -- missing", 127),
        ("exec hello -- locked", 126),
        ("exec hello -- refused", 125),
        ("exec hello -- vanish", 125),
        ("exec other -- exit 0", 125),
        ("exec -it hello -- exit 0", 2),
    ] {
        assert_eq!(typed(&world, line).await.code, code, "{line}");
    }
    assert_eq!(typed_at("unix:///nowhere/api.sock", "exec hello -- exit 0", b"").await.code, 125);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_outputs_go_where_they_belong() {
    let world = World::start().await;
    world.deploy("hello").await;
    let both = typed(&world, "exec hello -- both").await;
    assert_eq!((both.code, both.out.as_str(), both.err.as_str()), (0, "out", "err"));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_is_passed_on_when_asked_for() {
    let world = World::start().await;
    world.deploy("hello").await;
    let url = world.address("admin");
    let with = typed_at(&url, "exec -i hello -- cat", b"keys\0\n").await;
    assert_eq!((with.code, with.out.as_str()), (0, "keys\0\n"));
    let without = typed_at(&url, "exec hello -- cat", b"keys").await;
    assert_eq!((without.code, without.out.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_goes_both_ways_at_once() {
    let world = World::start().await;
    world.deploy("hello").await;
    let line = b"0123456789abcdef0123456789abcde\n";
    let input = line.repeat(128 << 10);
    let echoed = typed_at(&world.address("admin"), "exec -i hello -- cat", &input).await;
    assert_eq!((echoed.code, echoed.out.len()), (0, input.len()));
    assert!(echoed.out.as_bytes() == input);
}
