//! How errors look, and what they exit with.

use serde_json::Value;

use crate::typed::{typed, typed_at};
use crate::world::{HELLO, World};

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_what_happened_and_then_what_to_do() {
    let world = World::start().await;
    let broken = typed(&world, "deploy https://example.com/broken --script --name x").await;
    assert_eq!(broken.code, 1);
    assert_eq!(
        broken.err,
        "error: The new release did not become ready: no answer within 10 s\n\
         its log ends with:\n  sh: syntax error\n\
         \nhint: see its log\n"
    );
    assert_eq!(broken.out, "", "data and errors do not mix");
    let json = typed(&world, "--json deploy https://example.com/broken --script --name x").await;
    let problem: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.code, problem["code"].as_str()), (1, Some("release_not_ready")));
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_the_documented_ones() {
    let world = World::start().await;
    let (admin, public) = (world.address("admin"), world.address("public"));
    for (url, line, code) in [
        (admin.as_str(), "stop other", 3),
        (admin.as_str(), "logs other", 3),
        (admin.as_str(), "logs -f other", 3),
        (admin.as_str(), "diff other", 3),
        (public.as_str(), "ps", 4),
        (public.as_str(), "--token wrong ps", 4),
        ("unix:///nowhere/api.sock", "ps", 5),
        ("http://127.0.0.1:1", "ps", 5),
        ("https://127.0.0.1", "ps", 2),
        ("nonsense", "ps", 2),
        (admin.as_str(), "deploy /nowhere/file --script", 1),
        (admin.as_str(), "deploy / --script", 2),
        (admin.as_str(), "deploy https://example.com --script", 2),
        (admin.as_str(), "deploy https://example.com/x --type text/html", 2),
        (admin.as_str(), "deploy http://127.0.0.1/x --script --name x", 1),
    ] {
        let typed = typed_at(url, line, b"").await;
        assert_eq!(typed.code, code, "{line}: {typed:?}");
        assert!(typed.err.starts_with("error: "), "{line}: {typed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_mistakes_are_told_at_once() {
    let world = World::start().await;
    let typed = typed(&world, &format!("deploy {HELLO} --script --pids 1 --health nowhere --env 1=x")).await;
    assert_eq!(typed.code, 1);
    for pointer in ["  #/limits/pids: ", "  #/health/path: ", "  #/env/1: "] {
        assert!(typed.err.contains(pointer), "{}", typed.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_answer_does_not_reach_the_terminal() {
    let world = World::start().await;
    let typed = typed(&world, "stop \u{1b}[2J").await;
    assert_eq!(typed.code, 3);
    assert!(!typed.err.contains('\u{1b}'), "{:?}", typed.err);
}
