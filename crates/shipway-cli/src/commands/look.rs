//! Commands that only look.

use std::process::Stdio;

use serde_json::{Value, json};
use shipway_api_types::{Event, Release, Service, ServiceState};

use crate::args::Diff;
use crate::ask::Asker;
use crate::exit::Failure;
use crate::output::Output;
use crate::units::size;

pub(super) async fn ps(asker: &Asker, output: &Output) -> Result<(), Failure> {
    let services = asker.client.services(None).await?;
    if output.json {
        services.iter().for_each(|service| output.object(service));
    } else if output.quiet {
        services.iter().for_each(|service| output.line(&service.name));
    } else if services.is_empty() {
        output.note("nothing is deployed; `shipway deploy URL --name NAME` changes that");
    } else {
        let rows: Vec<Vec<String>> = services.iter().map(row).collect();
        output.table(&["NAME", "STATE", "KIND", "RELEASE", "CHANGED", "URL"], &rows);
    }
    Ok(())
}

/// Releases on one page.
const RELEASES_PAGE: u32 = 100;

async fn all_releases(asker: &Asker, name: &str) -> Result<Vec<Release>, Failure> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = asker.client.releases(name, RELEASES_PAGE, cursor.as_deref()).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

fn row(service: &Service) -> Vec<String> {
    vec![
        service.name.clone(),
        service.state.word().to_owned(),
        service.kind.map_or("-", |kind| kind.word()).to_owned(),
        service.release.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        to_the_second(&service.updated_at),
        service.urls.last().unwrap_or(&service.url).clone(),
    ]
}

fn to_the_second(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

pub(super) async fn inspect(name: &str, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let service = asker.client.service(name).await?;
    let releases = all_releases(asker, name).await?;
    let live = releases.iter().find(|release| Some(release.number) == service.release);
    let whole = json!({"service": service, "live_release": live});
    if output.json {
        output.object(&whole);
    } else {
        output.line(&serde_json::to_string_pretty(&whole).unwrap_or_default());
    }
    Ok(())
}

pub(super) async fn stats(names: Vec<String>, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let names = if names.is_empty() { running(asker).await? } else { names };
    let mut rows = Vec::new();
    for name in names {
        let stats = asker.client.stats(&name).await?;
        if output.json {
            let mut object = json!(stats);
            object["service"] = Value::String(name);
            output.object(&object);
            continue;
        }
        rows.push(vec![
            name,
            format!("{}.{:03} s", stats.cpu_usec / 1_000_000, stats.cpu_usec / 1000 % 1000),
            format!("{} / {}", size(stats.memory_bytes), size(stats.memory_limit_bytes)),
            size(stats.memory_peak_bytes),
            format!("{} / {}", stats.pids, stats.pids_limit),
            format!("{} / {}", size(stats.io_read_bytes), size(stats.io_write_bytes)),
        ]);
    }
    if !output.json {
        output.table(&["NAME", "CPU TIME", "MEMORY", "PEAK", "PIDS", "READ / WRITTEN"], &rows);
    }
    Ok(())
}

async fn running(asker: &Asker) -> Result<Vec<String>, Failure> {
    let services = asker.client.services(None).await?.into_iter();
    Ok(services.filter(|service| service.state == ServiceState::Live).map(|service| service.name).collect())
}

pub(super) async fn releases(name: &str, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let releases = all_releases(asker, name).await?;
    if output.json {
        releases.iter().for_each(|release| output.object(release));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = releases
        .iter()
        .map(|release| {
            let digest: String = release.source.digest.trim_start_matches("sha256:").chars().take(12).collect();
            let from = release.source.url.as_deref().or(release.source.file_name.as_deref()).unwrap_or("-");
            vec![
                release.number.to_string(),
                release.state.word().to_owned(),
                to_the_second(&release.created_at),
                release.kind.word().to_owned(),
                digest,
                output.foreign(from),
            ]
        })
        .collect();
    output.table(&["RELEASE", "STATE", "CREATED", "KIND", "CONTENT", "FROM"], &rows);
    Ok(())
}

pub(super) async fn diff(args: &Diff, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let diff = asker.client.diff(&args.service, args.from, args.to).await?;
    if output.json {
        output.object(&diff);
        return Ok(());
    }
    if diff.changes.is_empty() {
        output.note(&format!("releases {} and {} run alike", diff.from, diff.to));
    }
    for change in &diff.changes {
        output.line(&change.field);
        for (sign, value) in [("-", &change.from), ("+", &change.to)] {
            if let Some(value) = value {
                output.line(&output.foreign(&format!("  {sign} {value}")));
            }
        }
    }
    Ok(())
}

pub(super) async fn events(name: &str, asker: &Asker, output: &Output) -> Result<(), Failure> {
    for event in all_events(asker, name).await? {
        if output.json {
            output.object(&event);
            continue;
        }
        let fields: Vec<String> = event.fields.iter().map(|(key, value)| format!("{key}={}", bare(value))).collect();
        let words = event.event.replace('_', " ");
        output.line(&output.foreign(&format!("{}  {words:20} {}", to_the_second(&event.at), fields.join(" "))));
    }
    Ok(())
}

async fn all_events(asker: &Asker, name: &str) -> Result<Vec<Event>, Failure> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = asker.client.events(name, cursor.as_deref()).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) async fn open(name: &str, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let service = asker.client.service(name).await?;
    let url = service.urls.last().unwrap_or(&service.url);
    output.line(url);
    if asker.surroundings.has_display && asker.surroundings.stdout_is_terminal {
        let mut browser = tokio::process::Command::new("xdg-open");
        browser.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without a browser the URL is printed, which is what was asked for.
        drop(browser.spawn());
    }
    Ok(())
}
