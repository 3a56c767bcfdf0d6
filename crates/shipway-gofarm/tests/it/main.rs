//! Builds by the real Go command in real sandboxes. Needs root, and Go at `/usr/local/go`
//! or where `go env GOROOT` says.
//!
//! A runner of its own: all tests share one engine and one warm cache, made at the
//! beginning and taken away after the last. Takes a filter, `--exact` and `--list`.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that something is wrong")]
#![expect(clippy::print_stdout, reason = "it is its own runner")]

mod builds;
mod caches;
mod hostile;
mod killed;
mod plans;
mod proxies;
mod requests;
mod world;

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use world::World;

type Test = fn(Arc<World>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A test under its name.
macro_rules! tests {
    ($($module:ident: $($name:ident)+;)+) => {
        [$($((concat!(stringify!($module), "::", stringify!($name)), |world| Box::pin($module::$name(world)))),+),+]
    };
}

fn main() -> ExitCode {
    let tests: &[(&str, Test)] = &tests! {
        builds:
            a_plugin_is_built_and_runs
            the_same_plan_gives_the_same_bytes_anywhere
            every_platform_is_a_step_away
            a_build_is_stopped_at_any_moment
            what_goes_wrong_is_said_and_by_whose_fault;
        hostile:
            nothing_is_reached_but_the_door_and_that_only_while_downloading
            an_init_that_does_its_worst_does_it_in_the_sandbox
            limits_hold_for_disk_memory_and_time
            a_flood_of_words_is_cut
            nothing_of_a_plugins_choice_is_run
            what_runs_cannot_change_what_was_made;
        proxies:
            a_refusal_is_final_and_a_proxy_in_trouble_is_not
            questions_of_other_kinds_never_leave
            a_checksum_database_is_reached_where_no_proxy_passes_it_on
            what_a_build_may_fetch_is_bounded
            a_lying_proxy_is_found_out;
        caches:
            a_poisoned_entry_never_reaches_another_build
            a_cache_that_was_changed_is_given_up
            a_cache_is_replaced_and_the_old_one_goes_with_its_last_user;
        requests:
            a_request_becomes_a_binary
            what_a_request_names_fails_in_its_own_step;
        killed:
            a_killed_worker_leaves_nothing_that_its_successor_does_not_clear;
    };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let [first, folder] = words.as_slice()
        && first == killed::AS_WORKER
    {
        runtime.block_on(killed::work(folder.as_ref()));
    }
    let has = |flag: &str| words.iter().any(|word| word == flag);
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let fits = |name: &str| {
        let one =
            |filter: &&String| if has("--exact") { name == filter.as_str() } else { name.contains(filter.as_str()) };
        filters.is_empty() || filters.iter().any(one)
    };
    let chosen: Vec<&(&str, Test)> = tests.iter().filter(|(name, _)| fits(name)).collect();
    if has("--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    runtime.block_on(run(&chosen))
}

async fn run(chosen: &[&(&str, Test)]) -> ExitCode {
    let world = Arc::new(World::open().await);
    let mut failed = Vec::new();
    for (name, test) in chosen {
        let outcome = tokio::spawn(test(Arc::clone(&world))).await;
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed.extend(outcome.is_err().then_some(*name));
    }
    let left = Arc::into_inner(world).expect("every test has ended").close().await;
    println!("\n{} passed; {} failed: {failed:?}; left behind: {left:?}", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
