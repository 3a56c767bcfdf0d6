//! The filter as the kernel runs it: what a sandbox may not even try.

use crate::world::{World, run};

#[tokio::test]
async fn the_filter_is_on_and_refuses() {
    let world = World::new();
    let engine = world.open().await;
    let script = "grep -E '^(Seccomp|NoNewPrivs|CapBnd|CapEff):' /proc/self/status | tr -d ' \\t'; \
                  mount -t tmpfs x /tmp 2>&1; unshare -U true 2>&1; \
                  unshare -n true 2>&1; echo end";
    let (_, log) = run(&engine, world.spec("filter", script)).await;
    for line in [
        "Seccomp:2",
        "NoNewPrivs:1",
        "CapEff:0000000000000000",
        "CapBnd:0000000000000000",
        "mount: permission denied (are you root?)",
        "unshare: unshare(0x10000000): Operation not permitted",
        "unshare: unshare(0x40000000): Operation not permitted",
        "end",
    ] {
        assert!(log.contains(line), "{line:?} is missing:\n{log}");
    }
    world.finish(engine).await;
}
