//! Another process: this test binary, started again with a role to play.
//!
//! [`the_other_process`] is its entrance. In an ordinary run of the suite it has
//! no role and plays none.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const ROLE: &str = "SHIPWAY_STORE_TEST_ROLE";
const DATABASE: &str = "SHIPWAY_STORE_TEST_DATABASE";

/// A child that is killed when it is dropped.
pub(crate) struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// Starts this binary in `role` on the database at `place`.
    pub(crate) fn start(role: &str, place: &str) -> Self {
        Self::start_under(&[], role, place)
    }

    /// The same, by a program that starts it and looks on.
    pub(crate) fn start_under(program: &[&str], role: &str, place: &str) -> Self {
        let (_, part) = module_path!().split_once("::").unwrap();
        let own = std::env::current_exe().unwrap();
        let words = program.iter().map(std::ffi::OsString::from).chain([own.into()]).collect::<Vec<_>>();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--exact", &format!("{part}::the_other_process"), "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DATABASE, place)
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next thing it said (its lines that begin with `! `), or `None` at its end.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            // The harness prints the test's name without a line end first.
            if let Some((_, said)) = line.split_once("! ") {
                return Some(said.to_owned());
            }
        }
    }

    /// `kill -9`, and all it had said until then.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Says a line to the parent, at once.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "! {line}").unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_process() {
    let (Some(role), Some(place)) = (std::env::var_os(ROLE), std::env::var_os(DATABASE)) else {
        return;
    };
    let (role, place) = (role.into_string().unwrap(), place.into_string().unwrap());
    match role.as_str() {
        "lock" => crate::trouble::hold_the_lock(Path::new(&place)).await,
        "step by step" => crate::durability::step_by_step(&place).await,
        "work" => super::crash::work_for_ever(&place).await,
        "migrate" => super::two_versions::migrate(&place).await,
        "forget" => super::retention::forget_everything(&place).await,
        role => panic!("no role {role}"),
    }
}
