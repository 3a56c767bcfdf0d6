//! A platform and an internet in small, made for one story.

use std::fs;
use std::path::Path;
use std::time::Duration;

use shipway_testkit::http::Answer;
use shipway_testkit::{FileServer, Output, Platform, Settings, wait_until};

/// A service answers within this, also when it has just been killed.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) platform: Platform,
    pub(crate) files: FileServer,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(environment: &[(&str, &str)]) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_shipway")), environment)
    }

    /// A platform of a binary that is not the usual one.
    pub(crate) fn of(binary: &Path, environment: &[(&str, &str)]) -> Self {
        let files = FileServer::start().unwrap();
        let mut environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        environment.push(("SHIPWAY_FETCH_ALLOW".to_owned(), files.address().to_string()));
        let platform = Platform::start(binary, Settings { environment, roles: None }).unwrap();
        Self { platform, files }
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> Output {
        let output = self.platform.cli(words).unwrap();
        assert_eq!(output.code, 0, "shipway {}: {}\n{}", words.join(" "), output.stdout, output.stderr);
        output
    }

    /// Deploys a script that the internet in small has.
    #[track_caller]
    pub(crate) fn script(&self, name: &str, content: &str) -> Output {
        let url = self.files.put(&format!("/{name}"), content);
        self.ok(&["deploy", &url, "--script", "--name", name])
    }

    /// Asks a service that must answer 200 now.
    #[track_caller]
    pub(crate) fn visit(&self, service: &str) -> String {
        let answer = self.platform.visit(service, "/").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// Waits until a service answers as wanted.
    #[track_caller]
    pub(crate) fn visit_until(&self, service: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let mut last = None;
        wait_until(&format!("{service} answers as wanted"), SOON, || {
            last = self.platform.visit(service, "/").ok();
            last.clone().filter(&wanted)
        })
    }
}

/// Processes whose command line, with blanks between its words, holds `word`.
pub(crate) fn processes_with(word: &str) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(word)
    })
    .collect()
}
