//! grpc-go on both sides: its server as a service in an image, its client as the visitor.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{Field, folder};
use crate::sh;

pub(super) fn grpc(field: &Field) -> anyhow::Result<()> {
    let tree = folder()?.join("grpc");
    for place in ["dev", "etc", "proc", "tmp"] {
        std::fs::create_dir_all(tree.join(place))?;
    }
    let program = tree.join("echo");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(sh::root().join("xtask/src/conform/echo"))
        .env("CGO_ENABLED", "0")
        .status()
        .context("Go 1.26 or newer is needed, from go.dev")?;
    ensure!(built.success(), "the server could not be built");
    field.ok(&["image", "import", "echo", &tree.to_string_lossy()])?;
    for release in ["1", "2"] {
        let env = format!("RELEASE={release}");
        let deploy = ["deploy", "--image", "echo", "--port", "50051", "--protocol", "h2c", "--name", "grpc"];
        let further = ["--env", &env, "--health", "/grpc.health.v1.Health/Check", "--", "/echo", "serve", ":50051"];
        field.ok(&[&deploy[..], &further[..]].concat())?;
        let output =
            Command::new(&program).args(["check", &field.platform.address().to_string(), "grpc.localhost"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && output.stdout == b"ok\n", "release {release}: {said}");
    }
    Ok(())
}
