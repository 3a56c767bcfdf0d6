//! `shipway tasks` and `shipway workers`.

use shipway_api_types::{Task, TaskDetail, TaskState, Worker};
use shipway_client::TaskQuery;

use super::Context;
use crate::args::{TaskArgs, TaskCommand, TaskStateArg, WorkerArgs, WorkerCommand};
use crate::failure::{DONE, Failure};
use crate::output::Table;
use crate::show::harmless;
use crate::units;

mod watch;

/// Tasks read at once when all of them are wanted.
const PAGE: u32 = 500;

pub(super) async fn tasks(context: &mut Context, args: TaskArgs) -> Result<u8, Failure> {
    match &args.command {
        Some(TaskCommand::Show { id }) => return show(context, id).await,
        Some(TaskCommand::Requeue { ids, all }) => return requeue(context, ids, *all).await,
        None => {}
    }
    let query = TaskQuery {
        state: args.state.map(state),
        service: args.service.clone(),
        kind: args.kind.clone(),
        worker: args.worker.clone(),
    };
    if args.watch {
        return watch::watch(context, &query, args.limit).await;
    }
    let client = context.client()?;
    let page = context.during("listing".to_owned(), client.tasks(&query, args.limit, None)).await?;
    if context.globals.json {
        context.print_json(&page.items)?;
        return Ok(DONE);
    }
    if context.globals.quiet {
        let ids: String = page.items.iter().map(|task| format!("{}\n", task.id)).collect();
        context.print(&ids)?;
        return Ok(DONE);
    }
    if page.items.is_empty() {
        context.note("no such tasks");
        return Ok(DONE);
    }
    let text = table(context, &page.items, context.env.now_seconds);
    context.print(&text)?;
    if page.next.is_some() {
        context.note("there are older ones; -n shows more");
    }
    Ok(DONE)
}

const fn state(state: TaskStateArg) -> TaskState {
    match state {
        TaskStateArg::Queued => TaskState::Queued,
        TaskStateArg::Running => TaskState::Running,
        TaskStateArg::Done => TaskState::Done,
        TaskStateArg::Failed => TaskState::Failed,
        TaskStateArg::GivenUp => TaskState::GivenUp,
    }
}

fn table(context: &Context, tasks: &[Task], now_seconds: i64) -> String {
    let mut table = Table::new(&["ID", "STATE", "KIND", "SERVICE", "TRIES", "AGE", "WORKER", "WHY"]);
    for task in tasks {
        table.row(vec![
            task.id.clone(),
            task.state.word().to_owned(),
            harmless(&task.kind),
            harmless(service(task)),
            format!("{}/{}", task.attempts, task.attempts_max),
            units::age(&task.created_at, now_seconds),
            task.worker.as_deref().map_or_else(|| "-".to_owned(), harmless),
            harmless(&why(task)),
        ]);
    }
    table.render(|row, column, cell| match (row, column) {
        (0, _) => context.paint(Some("2"), cell),
        (_, 1) => context.paint(colour(cell), cell),
        _ => cell.to_owned(),
    })
}

fn service(task: &Task) -> &str {
    task.service_name.as_deref().unwrap_or(&task.service)
}

/// Why it is as it is, in a line.
fn why(task: &Task) -> String {
    let waits = task.waiting.first().map(|waiting| waiting.detail.clone());
    let failed = task.failure.as_ref().map(|failure| failure.detail.lines().next().unwrap_or_default().to_owned());
    match task.state {
        TaskState::Queued => waits.unwrap_or_else(|| "next".to_owned()),
        _ => failed.unwrap_or_default(),
    }
}

fn colour(word: &str) -> Option<&'static str> {
    match word {
        "running" => Some("33"),
        "failed" | "given_up" | "leaving" | "silent" => Some("31"),
        "done" => Some("2"),
        "active" => Some("32"),
        "cordoned" | "draining" => Some("33"),
        _ => None,
    }
}

async fn show(context: &mut Context, id: &str) -> Result<u8, Failure> {
    let client = context.client()?;
    let detail = context.during("reading".to_owned(), client.task(id)).await?;
    if context.globals.json {
        context.print_json(&detail)?;
        return Ok(DONE);
    }
    let text = told(context, &detail);
    context.print(&text)?;
    Ok(DONE)
}

/// A task in full: its facts, what is in its way, what happened.
fn told(context: &Context, detail: &TaskDetail) -> String {
    let task = &detail.task;
    let mut facts: Vec<(&str, String)> = vec![
        ("id", task.id.clone()),
        ("state", context.paint(colour(task.state.word()), task.state.word())),
        ("kind", harmless(&task.kind)),
        ("service", format!("{} ({})", harmless(service(task)), harmless(&task.service))),
        ("project", task.project.clone()),
        ("asked for", format!("{} by {}", task.created_at, harmless(&task.actor))),
        ("tries", format!("{} of {}, given back {} times", task.attempts, task.attempts_max, task.given_back)),
    ];
    let optional = [
        ("worker", &task.worker),
        ("engine", &task.engine),
        ("due", &task.due_at),
        ("begun", &task.claimed_at),
        ("lease until", &task.lease_until),
        ("ended", &task.ended_at),
    ];
    facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, harmless(value.as_ref()?)))));
    if !task.labels.is_empty() {
        facts.push(("labels", harmless(&task.labels.join(", "))));
    }
    if let Some(failure) = &task.failure {
        facts.push(("failure", harmless(&format!("{} ({})", failure.detail, failure.code))));
    }
    facts.extend(task.waiting.iter().map(|waiting| ("waits", harmless(&waiting.detail))));
    if task.state == TaskState::Queued && task.waiting.is_empty() {
        facts.push(("waits", "nothing is in its way: it is taken next".to_owned()));
    }
    let mut text: String = facts.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect();
    text.push('\n');
    for step in &detail.history {
        let note = step.note.as_deref().map_or_else(String::new, |note| format!("  {}", harmless(note)));
        text.push_str(&format!("{}  {:<10} try {}{note}\n", step.at, harmless(&step.change), step.attempt));
    }
    text
}

async fn requeue(context: &mut Context, ids: &[String], all: bool) -> Result<u8, Failure> {
    let client = context.client()?;
    let ids = if all { given_up(context).await? } else { ids.to_vec() };
    if ids.is_empty() {
        context.note("no task was given up");
    }
    let mut made = Vec::new();
    for id in &ids {
        let task = context.during("asking anew".to_owned(), client.requeue_task(id)).await?;
        context.note(&format!("{} of {} is asked for anew as task {}", task.kind, service(&task), task.id));
        made.push(task);
    }
    if context.globals.json {
        context.print_json(&made)?;
    }
    Ok(DONE)
}

/// Every task that was given up; oldest first, as they were asked for.
async fn given_up(context: &Context) -> Result<Vec<String>, Failure> {
    let client = context.client()?;
    let query = TaskQuery { state: Some(TaskState::GivenUp), ..TaskQuery::default() };
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.tasks(&query, PAGE, cursor.as_deref()).await?;
        ids.extend(page.items.into_iter().map(|task| task.id));
        cursor = page.next;
        if cursor.is_none() {
            ids.reverse();
            return Ok(ids);
        }
    }
}

pub(super) async fn workers(context: &mut Context, args: WorkerArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let Some(command) = args.command else {
        return list_workers(context).await;
    };
    let ids = match &command {
        WorkerCommand::Cordon { ids } | WorkerCommand::Uncordon { ids } | WorkerCommand::Drain { ids } => ids.clone(),
    };
    let mut changed = Vec::new();
    for id in &ids {
        let worker = match &command {
            WorkerCommand::Cordon { .. } => client.cordon_worker(id).await?,
            WorkerCommand::Uncordon { .. } => client.uncordon_worker(id).await?,
            WorkerCommand::Drain { .. } => client.drain_worker(id).await?,
        };
        context.note(&format!("{} is {}, with {} tasks", harmless(&worker.id), worker.state.word(), worker.running));
        changed.push(worker);
    }
    if context.globals.json {
        context.print_json(&changed)?;
    }
    Ok(DONE)
}

async fn list_workers(context: &mut Context) -> Result<u8, Failure> {
    let client = context.client()?;
    let workers = context.during("listing".to_owned(), client.workers()).await?;
    if context.globals.json {
        context.print_json(&workers)?;
        return Ok(DONE);
    }
    if context.globals.quiet {
        let ids: String = workers.iter().map(|worker| format!("{}\n", worker.id)).collect();
        context.print(&ids)?;
        return Ok(DONE);
    }
    if workers.is_empty() {
        context.note("no worker has registered");
        return Ok(DONE);
    }
    let mut table = Table::new(&["ID", "STATE", "TASKS", "HEARD", "HOST", "VERSION", "LABELS", "ENGINE"]);
    for worker in &workers {
        table.row(worker_row(worker));
    }
    let text = table.render(|row, column, cell| match (row, column) {
        (0, _) => context.paint(Some("2"), cell),
        (_, 1) => context.paint(colour(cell), cell),
        _ => cell.to_owned(),
    });
    context.print(&text)?;
    Ok(DONE)
}

fn worker_row(worker: &Worker) -> Vec<String> {
    let labels = if worker.labels.is_empty() { "-".to_owned() } else { harmless(&worker.labels.join(",")) };
    vec![
        harmless(&worker.id),
        // What matters is that nobody hears of it, whatever it was told to be.
        if worker.silent { "silent".to_owned() } else { worker.state.word().to_owned() },
        format!("{}/{}", worker.running, worker.capacity),
        format!("{}.{} s ago", worker.silent_for_ms / 1000, worker.silent_for_ms % 1000 / 100),
        harmless(&worker.host),
        harmless(&worker.version),
        labels,
        worker.engine.as_deref().map_or_else(|| "-".to_owned(), harmless),
    ]
}
