//! `shipway builds`: the list, once or as it changes.

use std::collections::HashMap;
use std::time::Duration;

use shipway_api_types::{Build, BuildState, Page};
use shipway_client::BuildQuery;

use super::Context;
use super::watch::{self, CLEAR};
use crate::args::{BuildStateArg, BuildsArgs};
use crate::failure::{DONE, Failure};
use crate::output::Table;
use crate::show::harmless;

pub(super) async fn list(context: &mut Context, args: BuildsArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let query = BuildQuery { recipe: args.recipe.clone(), state: args.state.map(state), digest: None };
    if args.watch {
        let mut seen = HashMap::new();
        let ask = async || client.builds(&query, args.limit, None).await;
        let show = |context: &mut Context, page: Page<Build>, _: Duration| draw(context, &page.items, &mut seen);
        return watch::watch(context, ask, show).await;
    }
    let page = context.during("listing".to_owned(), client.builds(&query, args.limit, None)).await?;
    if context.globals.json {
        context.print_json(&page.items)?;
        return Ok(DONE);
    }
    if context.globals.quiet {
        let ids: String = page.items.iter().map(|build| format!("{}\n", build.id)).collect();
        context.print(&ids)?;
        return Ok(DONE);
    }
    if page.items.is_empty() {
        context.note("no such builds");
        return Ok(DONE);
    }
    context.print(&table(&page.items))?;
    Ok(DONE)
}

fn table(builds: &[Build]) -> String {
    let mut table = Table::new(&["ID", "STATE", "PROGRAM", "PLATFORM", "PLUGINS", "ASKED FOR"]);
    for build in builds {
        table.row(vec![
            build.id.clone(),
            build.state.word().to_owned(),
            program(build),
            platform(build),
            build.plugins.len().to_string(),
            build.created_at.clone(),
        ]);
    }
    table.render(|_, _, cell| cell.to_owned())
}

fn program(build: &Build) -> String {
    format!("{} {}", build.recipe, build.program.rsplit('@').next().unwrap_or_default())
}

fn platform(build: &Build) -> String {
    let arm = build.arm.map(|arm| format!("/v{arm}")).unwrap_or_default();
    format!("{}/{}{arm}", build.os, build.arch)
}

/// The table anew for a person; for everybody else a line for each build that is new or has changed.
fn draw(context: &mut Context, builds: &[Build], seen: &mut HashMap<String, String>) -> Result<(), Failure> {
    if context.env.surroundings.stdout_is_terminal && !context.globals.json {
        return context.print(&format!("{CLEAR}{}", table(builds)));
    }
    // In the order in which they were asked for.
    for build in builds.iter().rev().filter(|build| seen.get(&build.id) != Some(&look(build))) {
        if context.globals.json {
            context.print_json_line(build)?;
        } else {
            let (program, platform) = (harmless(&program(build)), harmless(&platform(build)));
            let line = format!("{}  {:<9}  {program}  {platform}  {}", build.id, build.state.word(), why(build));
            context.print(&format!("{}\n", line.trim_end()))?;
        }
    }
    *seen = builds.iter().map(|build| (build.id.clone(), look(build))).collect();
    Ok(())
}

/// What makes a change worth a line.
fn look(build: &Build) -> String {
    let worker = build.worker.as_deref().unwrap_or_default();
    format!("{} {} {worker}", build.state.word(), build.attempts.unwrap_or(0))
}

/// Why it failed, or who has it.
fn why(build: &Build) -> String {
    match (&build.failure, build.state, &build.worker) {
        (Some(failure), ..) => harmless(&failure.failure.detail).replace('\n', " "),
        (None, BuildState::Building, Some(worker)) => format!("on {}", harmless(worker)),
        _ => String::new(),
    }
}

const fn state(state: BuildStateArg) -> BuildState {
    match state {
        BuildStateArg::Pending => BuildState::Pending,
        BuildStateArg::Building => BuildState::Building,
        BuildStateArg::Success => BuildState::Success,
        BuildStateArg::Failed => BuildState::Failed,
        BuildStateArg::Cancelled => BuildState::Cancelled,
    }
}
