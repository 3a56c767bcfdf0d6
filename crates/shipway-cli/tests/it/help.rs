//! Help is written to be read: every page is compared with the one somebody read.
//! After a change: `INSTA_UPDATE=always cargo test -p shipway-cli --test it help`, then read it.

use clap::{CommandFactory, Parser};
use shipway_cli::Cli;

/// Every command's page, hidden ones left out.
fn pages(command: &mut clap::Command, path: &str, into: &mut Vec<(String, String)>) {
    let page = command.render_long_help().to_string();
    into.push((path.replace(' ', "_"), page));
    for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        pages(sub, &path, into);
    }
}

#[test]
fn every_page_of_help_is_as_somebody_read_it() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut all = Vec::new();
    pages(&mut command, "shipway", &mut all);
    assert!(all.len() > 25, "{}", all.len());
    for (name, page) in all {
        let page: Vec<&str> = page.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(name, page.join("\n"));
    }
}

#[test]
fn a_typo_gets_a_suggestion() {
    for (line, suggestion) in [
        ("shipway deplyo x", "'deploy'"),
        ("shipway ps --jsn", "'--json'"),
        ("shipway ps --state lve", "'live'"),
        ("shipway completions bahs", "'bash'"),
    ] {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(suggestion), "{line}: {error}");
    }
}

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
}
