//! That the suite itself works: a small run finds nothing wrong with the store as it is.
//! The runs proper are made by `cargo xtask torture`, in CI after all tests.

use std::path::Path;
use std::process::{Command, Output};

fn torture(words: &[&str]) -> Output {
    Command::new(Path::new(env!("CARGO_BIN_EXE_shipway-torture"))).args(words).output().expect("it was built")
}

#[test]
fn it_says_which_runs_there_are() {
    let output = torture(&["--list"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(["R1", "R2", "R3", "mutants"].iter().all(|id| text.lines().any(|line| line.starts_with(id))), "{text}");
}

#[test]
fn a_run_that_is_none_is_refused() {
    let output = torture(&["--run", "R99"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("R99"));
}
