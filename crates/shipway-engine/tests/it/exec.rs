//! Further processes.

use bytes::Bytes;
use shipway_engine::{EXECUTE, Engine, EngineError, ExecInput, ExecOutput, ExecSession, ExecSpec};

use crate::world::{World, printed, soon, start, wait_until};

fn command(script: &str) -> ExecSpec {
    ExecSpec {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["EXTRA=given".to_owned(), "HOME=/elsewhere".to_owned()],
        cwd: None,
        terminal: None,
    }
}

/// All output, and the status.
async fn finish(mut session: ExecSession) -> (String, String, i32) {
    let (mut out, mut err) = (String::new(), String::new());
    loop {
        match soon(session.output.recv()).await {
            Some(ExecOutput::Stdout(part)) => out += &String::from_utf8_lossy(&part),
            Some(ExecOutput::Stderr(part)) => err += &String::from_utf8_lossy(&part),
            Some(ExecOutput::Exited(status)) => return (out, err, status),
            None => panic!("no status after {out:?} {err:?}"),
        }
    }
}

async fn running(world: &World) -> Engine {
    let engine = world.open().await;
    start(&engine, world.spec("c", "echo ready; exec sleep 1000")).await;
    printed(&engine, "c", "ready").await;
    engine
}

#[tokio::test]
async fn output_status_and_environment() {
    let world = World::new();
    let engine = running(&world).await;
    let script = "echo $EXTRA $HOME $PATH; id -u; pwd; grep ^Seccomp: /proc/self/status | tr -d '\t'; \
                  unshare -U true 2>/dev/null || echo sandboxed; echo bad >&2; exit 4";
    let session = soon(engine.exec("c", command(script))).await.unwrap();
    let (out, err, status) = finish(session).await;
    assert_eq!(out, "given /elsewhere /bin\n1000\n/tmp\nSeccomp:2\nsandboxed\n");
    assert_eq!((err.as_str(), status), ("bad\n", 4));
    world.finish(engine).await;
}

/// It must see the container's root, not what lies beneath it: an old root that was
/// left mounted under the new one is reached by `..` and by whoever enters later.
#[tokio::test]
async fn nothing_of_the_host_is_in_sight() {
    let world = World::new();
    let engine = world.open().await;
    let script = "ls / > /tmp/a; ls /.. > /tmp/b; ls /../../tmp/..; echo ready; exec sleep 1000";
    start(&engine, world.spec("c", script)).await;
    printed(&engine, "c", "ready").await;
    let look = "cat /tmp/a; echo =; cat /tmp/b; echo =; ls /; echo =; ls /..; cat /proc/mounts >&2";
    let session = soon(engine.exec("c", command(look))).await.unwrap();
    let (out, mounts, _) = finish(session).await;
    let mut tree: Vec<String> = std::fs::read_dir(world.tree())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    tree.sort();
    for seen in out.split("=\n") {
        assert_eq!(seen.lines().collect::<Vec<_>>(), tree);
    }
    let roots: Vec<&str> = mounts.lines().filter(|m| m.split(' ').nth(1) == Some("/")).collect();
    assert_eq!(roots.len(), 1, "{mounts}");
    world.finish(engine).await;
}

#[tokio::test]
async fn a_megabyte_goes_through_both_ways() {
    let world = World::new();
    let engine = running(&world).await;
    let session = soon(engine.exec("c", command("cat"))).await.unwrap();
    let input = session.input.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..64 {
            input.send(ExecInput::Stdin(Bytes::from(vec![b'x'; 16 << 10]))).await.unwrap();
        }
        input.send(ExecInput::Eof).await.unwrap();
        // Kept until the end: without it the process would be killed.
        input
    });
    let (out, _, status) = finish(session).await;
    assert_eq!((out.len(), status), (1 << 20, 0));
    drop(writer.await.unwrap());
    world.finish(engine).await;
}

#[tokio::test]
async fn a_terminal_has_a_size_and_an_end_of_file() {
    let world = World::new();
    let engine = running(&world).await;
    let spec = ExecSpec { terminal: Some((81, 25)), ..command("stty -echo; read go; stty size; cat; exit 5") };
    let session = soon(engine.exec("c", spec)).await.unwrap();
    let input = session.input.clone();
    input.send(ExecInput::Resize(90, 30)).await.unwrap();
    input.send(ExecInput::Stdin("\n".into())).await.unwrap();
    input.send(ExecInput::Stdin("typed\n".into())).await.unwrap();
    input.send(ExecInput::Eof).await.unwrap();
    let (out, _, status) = finish(session).await;
    assert!(out.contains("30 90\r\n"), "{out:?}");
    assert!(out.contains("typed"), "{out:?}");
    assert_eq!(status, 5);
    world.finish(engine).await;
}

#[tokio::test]
async fn signals_and_hanging_up_end_it() {
    let world = World::new();
    let engine = running(&world).await;
    let session = soon(engine.exec("c", command("exec sleep 1000"))).await.unwrap();
    session.input.send(ExecInput::Signal(15)).await.unwrap();
    let (_, _, status) = finish(session).await;
    assert_eq!(status, 128 + 15);

    let pids = |engine: Engine| async move { engine.stats("c").await.unwrap().usage.pids };
    let session = soon(engine.exec("c", command("exec sleep 1000"))).await.unwrap();
    assert_eq!(pids(engine.clone()).await, 2);
    drop(session);
    let mut left = 2;
    for _ in 0..1000 {
        left = pids(engine.clone()).await;
        if left == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    wait_until("hanging up killed it", || left == 1).await;
    world.finish(engine).await;
}

#[tokio::test]
async fn what_cannot_run_is_refused() {
    let world = World::new();
    let engine = running(&world).await;
    let missing = ExecSpec { argv: vec!["no-such-program".to_owned()], ..command("") };
    let refused = soon(engine.exec("c", missing)).await.unwrap_err();
    assert!(matches!(&refused, EngineError::Start { step, errno: 2, .. } if step == EXECUTE), "{refused}");
    let empty = ExecSpec { argv: Vec::new(), ..command("") };
    let refused = engine.exec("c", empty).await.unwrap_err();
    assert!(matches!(refused, EngineError::Invalid(_)), "{refused}");
    soon(engine.stop("c", std::time::Duration::ZERO)).await.unwrap();
    let refused = engine.exec("c", command("")).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotRunning(_)), "{refused}");
    world.finish(engine).await;
}
