//! What prints a table: `ps`, `stats`, `releases`, `diff`; and `inspect`.

use std::time::Duration;

use serde_json::json;
use shipway_api_types::{Service, ServiceState, Stats};
use shipway_client::{Client, Error};

use super::Context;
use crate::args::{DiffArgs, NameArgs, PsArgs, ReleasesArgs, StateArg, StatsArgs};
use crate::failure::{DONE, Failure};
use crate::output::Table;
use crate::show::{self, harmless};
use crate::units;

/// Between the two looks that a share of the processor is made of.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(super) async fn ps(context: &mut Context, args: PsArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let state = args.state.map(|state| match state {
        StateArg::Starting => ServiceState::Starting,
        StateArg::Live => ServiceState::Live,
        StateArg::Unhealthy => ServiceState::Unhealthy,
        StateArg::Stopped => ServiceState::Stopped,
        StateArg::Failed => ServiceState::Failed,
    });
    let services = context.during("listing".to_owned(), client.services(state)).await?;
    if context.globals.json {
        context.print_json(&services)?;
        return Ok(DONE);
    }
    if context.globals.quiet {
        let names: String = services.iter().map(|service| format!("{}\n", service.name)).collect();
        context.print(&names)?;
        return Ok(DONE);
    }
    if services.is_empty() {
        context.note("no services; `shipway deploy URL|FILE` makes one");
        return Ok(DONE);
    }
    let text = services_table(context, &services);
    context.print(&text)?;
    Ok(DONE)
}

fn services_table(context: &Context, services: &[Service]) -> String {
    // Where there is one machine, there is nothing to say about which.
    let many = services.iter().any(|service| service.worker.is_some());
    let head = ["NAME", "STATE", "RELEASE", "KIND", "AGE", "URL", "WORKER"];
    let mut table = Table::new(if many { &head } else { &head[..head.len() - 1] });
    for service in services {
        let mut row = vec![
            service.name.clone(),
            show::state(service).to_owned(),
            show::release(service),
            service.kind.map_or("-", shipway_api_types::ContentKind::word).to_owned(),
            units::age(&service.created_at, context.env.now_seconds),
            service.url.clone(),
        ];
        if many {
            row.push(service.worker.as_ref().map_or("-", |worker| &worker.id).to_owned());
        }
        table.row(row);
    }
    paint_states(context, &table)
}

/// Dims the head and colours the second column by its word.
fn paint_states(context: &Context, table: &Table) -> String {
    table.render(|row, column, cell| match (row, column) {
        (0, _) => context.paint(Some("2"), cell),
        (_, 1) => context.paint(show::colour_of_word(cell), cell),
        _ => cell.to_owned(),
    })
}

pub(super) async fn inspect(context: &mut Context, args: NameArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let service = context.during("reading".to_owned(), client.service(&args.name)).await?;
    let release = match service.release {
        Some(number) => Some(client.release(&service.id, number).await?),
        None => None,
    };
    // What it uses and was refused, if it runs.
    let stats = look(&client, std::slice::from_ref(&service.id), true).await?.pop().map(|(_, stats)| stats);
    context.print_json(&json!({ "service": service, "release": release, "stats": stats }))?;
    Ok(DONE)
}

pub(super) async fn releases(context: &mut Context, args: ReleasesArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let work = client.releases(&args.name, args.limit, None);
    let page = context.during("listing".to_owned(), work).await?;
    if context.globals.json {
        context.print_json(&page.items)?;
        return Ok(DONE);
    }
    let mut table = Table::new(&["RELEASE", "STATE", "KIND", "SIZE", "AGE", "CONTENT", "FROM"]);
    for release in &page.items {
        let source = release.source.as_ref();
        let from = source.and_then(|source| source.url.as_ref().or(source.file_name.as_ref()));
        let from = from.or(release.image.as_ref());
        let content = source.map_or(&release.root, |source| &source.digest);
        table.row(vec![
            release.number.to_string(),
            release.state.word().to_owned(),
            release.kind.map_or("command", shipway_api_types::ContentKind::word).to_owned(),
            source.map_or_else(|| "-".to_owned(), |source| units::size(source.size_bytes)),
            units::age(&release.created_at, context.env.now_seconds),
            content.chars().skip("sha256:".len()).take(12).collect(),
            from.map_or_else(|| "upload".to_owned(), |from| harmless(from)),
        ]);
    }
    let text = paint_states(context, &table);
    context.print(&text)?;
    if page.next.is_some() {
        context.note("there are older ones; -n shows more");
    }
    Ok(DONE)
}

pub(super) async fn diff(context: &mut Context, args: DiffArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let (from, to) = which(&client, &args).await?;
    let work = client.diff(&args.name, from, to);
    let diff = context.during("comparing".to_owned(), work).await?;
    if context.globals.json {
        context.print_json(&diff)?;
        return Ok(DONE);
    }
    if diff.changes.is_empty() {
        context.note(&format!("releases {from} and {to} run alike"));
        return Ok(DONE);
    }
    let shown = |value: &Option<serde_json::Value>| match value {
        None => "-".to_owned(),
        Some(serde_json::Value::String(text)) => harmless(text),
        Some(other) => other.to_string(),
    };
    let mut table = Table::new(&["FIELD", &format!("RELEASE {from}"), &format!("RELEASE {to}")]);
    for change in &diff.changes {
        table.row(vec![change.field.clone(), shown(&change.from), shown(&change.to)]);
    }
    let text = table.render(|row, _, cell| context.paint((row == 0).then_some("2"), cell));
    context.print(&text)?;
    Ok(DONE)
}

/// The releases that are meant: the newest, and the one before it, unless told.
async fn which(client: &Client, args: &DiffArgs) -> Result<(u32, u32), Failure> {
    if let (Some(from), Some(to)) = (args.from, args.to) {
        return Ok((from, to));
    }
    let page = client.releases(&args.name, 2, None).await?;
    let numbers: Vec<u32> = page.items.iter().map(|release| release.number).collect();
    match (args.from, numbers.as_slice()) {
        (Some(from), [newest, ..]) => Ok((from, *newest)),
        (None, [newest, before, ..]) => Ok((*before, *newest)),
        _ => Err(Failure::Said(format!("{} has no two releases to compare", args.name), None)),
    }
}

pub(super) async fn stats(context: &mut Context, args: StatsArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let names = if args.names.is_empty() { running(context, &client).await? } else { args.names.clone() };
    let first = look(&client, &names, args.names.is_empty()).await?;
    if context.globals.json {
        for (name, stats) in &first {
            context.print_json_line(&with_name(name, stats))?;
        }
        return Ok(DONE);
    }
    if first.is_empty() {
        context.note("nothing is running");
        return Ok(DONE);
    }
    tokio::time::sleep(BETWEEN_LOOKS).await;
    let second = look(&client, &names, true).await?;
    let mut table = Table::new(&["NAME", "CPU", "MEMORY", "LIMIT", "PEAK", "PIDS", "READ", "WRITTEN"]);
    for (name, now) in &second {
        let before = first.iter().find(|(other, _)| other == name).map(|(_, stats)| stats);
        table.row(stats_row(name, before, now));
    }
    let text = table.render(|row, _, cell| context.paint((row == 0).then_some("2"), cell));
    context.print(&text)?;
    Ok(DONE)
}

async fn running(context: &Context, client: &Client) -> Result<Vec<String>, Failure> {
    let services = context.during("listing".to_owned(), client.services(Some(ServiceState::Live))).await?;
    Ok(services.into_iter().map(|service| service.name).collect())
}

/// Asks each one. With `lenient`, those that stopped meanwhile or cannot be reached are left out.
async fn look(client: &Client, names: &[String], lenient: bool) -> Result<Vec<(String, Stats)>, Failure> {
    let mut found = Vec::new();
    for name in names {
        match client.stats(name).await {
            Ok(stats) => found.push((name.clone(), stats)),
            Err(Error::Refused(problem)) if lenient && matches!(problem.status, 404 | 409 | 503) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn with_name(name: &str, stats: &Stats) -> serde_json::Value {
    let mut line = json!({ "name": name });
    if let (Some(line), Ok(serde_json::Value::Object(fields))) = (line.as_object_mut(), serde_json::to_value(stats)) {
        line.extend(fields);
    }
    line
}

fn stats_row(name: &str, before: Option<&Stats>, now: &Stats) -> Vec<String> {
    let used = before.map_or(0, |before| now.cpu_usec.saturating_sub(before.cpu_usec));
    // Tenths of a percent of one processor.
    let share = u128::from(used) * 1000 / BETWEEN_LOOKS.as_micros();
    vec![
        name.to_owned(),
        format!("{}.{} %", share / 10, share % 10),
        units::size(now.memory_bytes),
        units::size(now.memory_limit_bytes),
        units::size(now.memory_peak_bytes),
        format!("{}/{}", now.pids, now.pids_limit),
        units::size(now.io_read_bytes),
        units::size(now.io_write_bytes),
    ]
}
