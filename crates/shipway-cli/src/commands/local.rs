//! What needs little or nothing of the server: `open`, `completions`, `version`.

use std::process::Stdio;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Context;
use crate::args::{Cli, CompletionsArgs, NameArgs, ShellArg};
use crate::failure::{DONE, Failure};

pub(super) async fn open(context: &mut Context, args: NameArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let service = context.during("reading".to_owned(), client.service(&args.name)).await?;
    if context.globals.json {
        context.print_json(&serde_json::json!({ "url": service.url, "urls": service.urls }))?;
        return Ok(DONE);
    }
    context.print(&format!("{}\n", service.url))?;
    let around = &context.env.surroundings;
    if around.has_display && around.stdout_is_terminal {
        browse(&service.url);
    }
    Ok(DONE)
}

/// Asks the desktop to open a page. The URL is printed, so failing is no failure.
fn browse(url: &str) {
    let started = tokio::process::Command::new("xdg-open")
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(started);
}

pub(super) fn completions(context: &mut Context, args: &CompletionsArgs) -> Result<u8, Failure> {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "shipway", &mut script);
    context.print(&String::from_utf8_lossy(&script))?;
    Ok(DONE)
}

pub(super) fn version(context: &mut Context) -> Result<u8, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if context.globals.json {
        context.print_json(&serde_json::json!({ "version": version }))?;
    } else {
        context.print(&format!("shipway {version}\n"))?;
    }
    Ok(DONE)
}
