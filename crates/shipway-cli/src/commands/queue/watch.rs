//! `shipway tasks --watch`: the queue as it changes.

use std::collections::HashMap;

use shipway_api_types::Task;
use shipway_client::TaskQuery;

use super::{service, table, why};
use crate::commands::Context;
use crate::commands::watch::{self, CLEAR};
use crate::failure::Failure;
use crate::show::harmless;

/// Looks again and again, until the reader is gone.
pub(super) async fn watch(context: &mut Context, query: &TaskQuery, limit: u32) -> Result<u8, Failure> {
    let client = context.client()?;
    let mut seen = HashMap::new();
    let ask = async || client.tasks(query, limit, None).await;
    let show = |context: &mut Context, page: shipway_api_types::Page<Task>, passed: std::time::Duration| {
        let passed = i64::try_from(passed.as_secs()).unwrap_or(0);
        draw(context, &page.items, &mut seen, context.env.now_seconds + passed)
    };
    watch::watch(context, ask, show).await
}

fn draw(
    context: &mut Context,
    tasks: &[Task],
    seen: &mut HashMap<String, String>,
    now_seconds: i64,
) -> Result<(), Failure> {
    if context.env.surroundings.stdout_is_terminal && !context.globals.json {
        let text = table(context, tasks, now_seconds);
        return context.print(&format!("{CLEAR}{text}"));
    }
    // In the order in which they were asked for.
    for task in tasks.iter().rev().filter(|task| seen.get(&task.id) != Some(&look(task))) {
        if context.globals.json {
            context.print_json_line(task)?;
        } else {
            let (kind, service, why) = (harmless(&task.kind), harmless(service(task)), harmless(&why(task)));
            let line = format!("{}  {:<8}  {kind} of {service}  {why}", task.id, task.state.word());
            context.print(&format!("{}\n", line.trim_end()))?;
        }
    }
    *seen = tasks.iter().map(|task| (task.id.clone(), look(task))).collect();
    Ok(())
}

/// What makes a change worth a line; that a lease was renewed is none.
fn look(task: &Task) -> String {
    let worker = task.worker.as_deref().unwrap_or_default();
    format!("{} {} {} {worker} {}", task.state.word(), task.attempts, task.given_back, why(task))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use shipway_api_types::{TaskState, Waiting};

    use super::*;
    use crate::args::Globals;
    use crate::env::{Env, Surroundings};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    fn context(out: &Kept, stdout_is_terminal: bool) -> Context {
        let surroundings = Surroundings { stdout_is_terminal, ..Surroundings::default() };
        let (stdin, stderr) = (Box::new(std::io::empty()), Box::new(std::io::sink()));
        let env =
            Env { surroundings, token_files: vec![], stdin, stdout: Box::new(out.clone()), stderr, now_seconds: 0 };
        Context::new(Globals { no_color: true, ..Globals::default() }, env)
    }

    fn task(id: &str, state: TaskState) -> Task {
        let json = serde_json::json!({
            "id": id, "project": "default", "service": "s", "service_name": "hello", "kind": "deploy", "state": state,
            "actor": "local", "attempts": 0, "attempts_max": 10, "given_back": 0,
            "created_at": "2026-11-22T10:00:00Z",
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn whoever_pipes_it_gets_a_line_for_each_change_in_the_order_of_asking() {
        let (out, mut seen) = (Kept::default(), HashMap::new());
        let mut context = context(&out, false);
        let behind = Waiting {
            reason: "behind".to_owned(),
            detail: "a deploy of the same service is at work".to_owned(),
            until: None,
            task: None,
            workers: vec![],
        };
        let second = Task { waiting: vec![behind], ..task("2", TaskState::Queued) };
        draw(&mut context, &[second.clone(), task("1", TaskState::Running)], &mut seen, 0).unwrap();
        assert_eq!(
            out.take(),
            "1  running   deploy of hello\n2  queued    deploy of hello  a deploy of the same service is at work\n"
        );
        // A lease that was renewed is no news.
        let renewed = Task { lease_until: Some("later".to_owned()), ..task("1", TaskState::Running) };
        draw(&mut context, &[second, renewed], &mut seen, 1).unwrap();
        assert_eq!(out.take(), "");
        let after = [task("2", TaskState::Queued), task("1", TaskState::Done)];
        draw(&mut context, &after, &mut seen, 2).unwrap();
        assert_eq!(out.take(), "1  done      deploy of hello\n2  queued    deploy of hello  next\n");
    }

    #[test]
    fn a_person_gets_the_table_drawn_anew() {
        let (out, mut seen) = (Kept::default(), HashMap::new());
        let mut context = context(&out, true);
        draw(&mut context, &[task("1", TaskState::Running)], &mut seen, 0).unwrap();
        let drawn = out.take();
        assert!(drawn.starts_with("\u{1b}[H\u{1b}[2JID  STATE") && drawn.lines().count() == 2, "{drawn}");
    }
}
