//! What is old is forgotten, in bounded steps; what is needed is not, whoever asks.

use std::time::Duration;

use shipway_model::{TaskPayload, TokenId};
use shipway_store::{OldTasks, Token};
use uuid::Uuid;

use super::child::{Other, say};
use super::world::*;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR_MICROS: i64 = 3_600_000_000;

const fn older_than(age: Duration) -> OldTasks {
    OldTasks { given_up: false, age, up_to: None }
}

impl World {
    /// Ended tasks, each of a service of its own.
    async fn ended(&self, tasks: usize) {
        for task in 0..tasks {
            self.ask_first(&format!("ended-{task}")).await;
            let lease = self.take().await;
            self.finish(&lease, &done(None)).await.unwrap();
        }
    }

    async fn count(&self, of: &str) -> i64 {
        self.number(format!("SELECT count(*) FROM {of}")).await
    }
}

#[tokio::test]
async fn ended_tasks_go_by_age_with_their_histories_and_in_steps() {
    let world = world().await;
    world.ended(5).await;
    world.ask_first("queued").await;
    let histories = world.count("event WHERE subject LIKE 'task/%'").await;
    assert_eq!(histories, 5 * 3 + 1);
    assert_eq!(world.forget_tasks(older_than(Duration::ZERO), 10).await.unwrap(), 0, "the last hour stays");
    world.spoil(format!("UPDATE task SET ended_at = ended_at - {}", 2 * HOUR_MICROS)).await;
    assert_eq!(world.forget_tasks(older_than(DAY), 10).await.unwrap(), 0);
    assert_eq!(world.forget_tasks(older_than(Duration::from_secs(3600)), 3).await.unwrap(), 3);
    assert_eq!(world.count("task WHERE state = 'done'").await, 2);
    assert_eq!(world.forget_tasks(older_than(Duration::from_secs(3600)), 3).await.unwrap(), 2);
    assert_eq!(world.forget_tasks(older_than(Duration::from_secs(3600)), 3).await.unwrap(), 0);
    assert_eq!((world.count("task").await, world.count("event WHERE subject LIKE 'task/%'").await), (1, 1));
    // What happened to the services is told as before.
    assert_eq!(world.count("event WHERE subject LIKE 'service/%'").await, 5 * 2 + 1);
}

#[tokio::test]
async fn of_many_ended_tasks_the_newest_stay() {
    let world = world().await;
    world.ended(6).await;
    assert_eq!(world.find_ended_beyond(6, false).await.unwrap(), None);
    let up_to = world.find_ended_beyond(2, false).await.unwrap();
    assert!(up_to.is_some());
    let old = OldTasks { given_up: false, age: 100 * DAY, up_to };
    assert_eq!(world.forget_tasks(old, 10).await.unwrap(), 0, "not those of the last hour");
    world.spoil(format!("UPDATE task SET ended_at = ended_at - {}", 2 * HOUR_MICROS)).await;
    assert_eq!(world.forget_tasks(old, 10).await.unwrap(), 4);
    let left = world.texts("SELECT id FROM task ORDER BY number").await;
    assert_eq!(left.len(), 2);
    let newest = world.ask_first("next").await.task;
    assert!(world.find_task(newest).await.unwrap().is_some());
}

#[tokio::test]
async fn given_up_tasks_wait_for_somebody_to_look_and_are_bounded_apart() {
    let world = world().await;
    world.ended(2).await;
    for of in ["a", "b", "c"] {
        world.ask_first(of).await;
        world.take().await;
    }
    world.spoil("UPDATE task SET attempt = 10 WHERE state = 'running'").await;
    assert_eq!(world.rescue(true).await.unwrap(), 3);
    world.spoil(format!("UPDATE task SET ended_at = ended_at - {}", 48 * HOUR_MICROS)).await;
    assert_eq!(world.forget_tasks(older_than(DAY), 10).await.unwrap(), 2);
    let up_to = world.find_ended_beyond(1, true).await.unwrap();
    let given_up = OldTasks { given_up: true, age: 100 * DAY, up_to };
    assert_eq!(world.forget_tasks(given_up, 1).await.unwrap(), 1);
    assert_eq!(world.forget_tasks(given_up, 10).await.unwrap(), 1);
    let left = world.list_given_up(0, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    world.requeue(left[0].id, "operator").await.unwrap();
    assert_eq!(world.forget_tasks(older_than(DAY), 10).await.unwrap(), 1, "looked at, it is as any other");
}

#[tokio::test]
async fn a_deleted_services_events_go_whole_and_a_living_ones_but_for_the_last() {
    let world = world().await;
    let (living, dead) = (world.live_service("living").await, world.live_service("dead").await);
    world.ask(dead, TaskPayload::Delete).await;
    let lease = world.take().await;
    world.delete_service(&lease).await.unwrap();
    let (living, dead) = (format!("service/{living}"), format!("service/{dead}"));
    let seen = world.list_timelines("", 100).await.unwrap();
    let about = |subject: &str| seen.iter().find(|one| one.subject == *subject).unwrap().clone();
    assert_eq!((seen.len(), about(&living).gone, about(&dead).gone), (2, false, true));
    assert_eq!((about(&living).first, about(&living).last), (1, 4));
    assert!(about(&dead).quiet_for >= 0 && about(&dead).quiet_for < HOUR_MICROS);

    assert_eq!(world.forget_events(&living, u64::MAX, 2).await.unwrap(), 2);
    assert_eq!(world.forget_events(&living, u64::MAX, 100).await.unwrap(), 1);
    assert_eq!(world.forget_events(&living, u64::MAX, 100).await.unwrap(), 0, "the last one counts on");
    let left = world.list_events(&living, 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|event| event.seq).collect::<Vec<_>>(), [4]);
    world.ask(living["service/".len()..].parse().unwrap(), TaskPayload::Restart).await;
    assert_eq!(world.list_events(&living, 4, 10).await.unwrap()[0].seq, 5);

    let whole = about(&dead).last;
    assert_eq!(world.forget_events(&dead, whole, 3).await.unwrap(), 3);
    assert_eq!(world.forget_events(&dead, whole, 100).await.unwrap(), whole - 3);
    assert_eq!(world.list_events(&dead, 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn timelines_are_read_page_by_page_past_all_histories_of_tasks() {
    let world = world().await;
    for of in ["a", "b", "c"] {
        world.ask_first(of).await;
    }
    world.add_token(&token(None), [1; 32], "local").await.unwrap();
    let whole = world.list_timelines("", 100).await.unwrap();
    assert_eq!(whole.len(), 4, "{whole:?}");
    assert!(whole[3].subject.starts_with("token/") && !whole[3].gone);
    for size in 2..5 {
        let mut read: Vec<shipway_store::Timeline> = Vec::new();
        loop {
            let after = read.last().map_or_else(String::new, |one| one.subject.clone());
            let page = world.list_timelines(&after, size).await.unwrap();
            assert!(page.len() <= size as usize);
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        let subjects = |all: &[shipway_store::Timeline]| all.iter().map(|t| t.subject.clone()).collect::<Vec<_>>();
        assert_eq!(subjects(&read), subjects(&whole), "pages of {size}");
    }
}

fn token(expires_at: Option<i64>) -> Token {
    Token {
        id: TokenId(Uuid::new_v4()),
        name: "laptop".to_owned(),
        role: "admin".to_owned(),
        project: default_project(),
        created_at: 1,
        expires_at,
        last_used_at: None,
    }
}

#[tokio::test]
async fn expired_tokens_go_after_a_while_and_it_is_told() {
    let world = world().await;
    let now = world.now().await.unwrap();
    let (old, young, eternal) = (token(Some(now - 48 * HOUR_MICROS)), token(Some(now - 1)), token(None));
    for (number, token) in [&old, &young, &eternal].into_iter().enumerate() {
        world.add_token(token, [u8::try_from(number).unwrap(); 32], "local").await.unwrap();
    }
    assert_eq!(world.forget_tokens(DAY, 10).await.unwrap(), 1);
    assert_eq!(world.forget_tokens(DAY, 10).await.unwrap(), 0);
    let left: Vec<TokenId> = world.list_tokens().await.unwrap().into_iter().map(|token| token.id).collect();
    assert!(left.contains(&young.id) && left.contains(&eternal.id) && left.len() == 2);
    let told = world.list_events(&format!("token/{}", old.id), 0, 10).await.unwrap();
    assert_eq!(told.iter().map(|event| word(&event.kind)).collect::<Vec<_>>(), ["token created", "token expired"]);
    let gone = world.list_timelines("", 100).await.unwrap();
    assert_eq!(gone.iter().filter(|timeline| timeline.gone).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_forget_at_once_forget_each_thing_once() {
    let world = world().await;
    world.ended(12).await;
    let now = world.now().await.unwrap();
    for number in 0..12 {
        world.add_token(&token(Some(now - 48 * HOUR_MICROS)), [number; 32], "local").await.unwrap();
    }
    world.spoil(format!("UPDATE task SET ended_at = ended_at - {}", 48 * HOUR_MICROS)).await;
    let timelines = world.list_timelines("service/", 100).await.unwrap();
    let all = (0..4).map(|_| {
        let (store, timelines) = (world.store.clone(), timelines.clone());
        tokio::spawn(async move {
            let (mut tasks, mut tokens, mut events) = (0, 0, 0);
            loop {
                let (task, token) =
                    (store.forget_tasks(older_than(DAY), 2).await.unwrap(), store.forget_tokens(DAY, 2).await.unwrap());
                (tasks, tokens) = (tasks + task, tokens + token);
                if task + token == 0 {
                    break;
                }
            }
            for timeline in timelines.iter().filter(|timeline| timeline.subject.starts_with("service/")) {
                events += store.forget_events(&timeline.subject, u64::MAX, 2).await.unwrap();
            }
            (tasks, tokens, events)
        })
    });
    let mut sum = (0, 0, 0);
    for one in futures_util::future::join_all(all).await {
        let (tasks, tokens, events) = one.unwrap();
        sum = (sum.0 + tasks, sum.1 + tokens, sum.2 + events);
    }
    assert_eq!(sum, (12, 12, 12), "each service had two events and keeps the last");
    assert_eq!(world.count("task").await + world.count("token").await, 0);
}

/// The child: forgets in the smallest steps there are, telling the parent each.
pub(crate) async fn forget_everything(place: &str) {
    let store = open(place).await;
    loop {
        let tasks = store.forget_tasks(older_than(DAY), 1).await.unwrap();
        let tokens = store.forget_tokens(DAY, 1).await.unwrap();
        let mut events = 0;
        for timeline in store.list_timelines("service/", 1000).await.unwrap() {
            if timeline.subject.starts_with("service/") && timeline.first < timeline.last {
                events += store.forget_events(&timeline.subject, u64::MAX, 1).await.unwrap();
                say("step");
            }
        }
        say("step");
        if tasks + tokens + events == 0 {
            return say("done");
        }
    }
}

#[tokio::test]
async fn a_janitor_that_is_killed_leaves_nothing_by_half_and_the_next_goes_on() {
    let world = world().await;
    world.ended(15).await;
    let now = world.now().await.unwrap();
    for number in 0..15 {
        world.add_token(&token(Some(now - 48 * HOUR_MICROS)), [number; 32], "local").await.unwrap();
    }
    world.spoil(format!("UPDATE task SET ended_at = ended_at - {}", 48 * HOUR_MICROS)).await;
    let mut kills = 0;
    loop {
        let mut other = Other::start("forget", &world.place());
        // A different moment each time, counted in steps, not in time.
        let heard: Vec<String> = (0..1 + kills * 3).map_while(|_| other.hear()).collect();
        let rest = other.kill();
        check_whole(&world).await;
        if heard.iter().chain(&rest).any(|said| said == "done") {
            break;
        }
        kills += 1;
    }
    assert_eq!(world.count("task").await + world.count("token").await, 0);
    assert_eq!(world.count("event WHERE subject LIKE 'service/%'").await, 15, "each keeps its last");
}

/// A task and its history are both there or both gone; a token is there or its end is told;
/// what is left of a timeline is its end, without a gap.
async fn check_whole(world: &World) {
    let lost = "SELECT count(*) FROM task t WHERE
        (SELECT count(*) FROM event e WHERE e.subject = 'task/' || t.id) <> 3";
    assert_eq!(world.number(lost).await, 0, "half a history");
    let rubbish = "SELECT count(*) FROM event e WHERE e.subject LIKE 'task/%'
        AND NOT EXISTS (SELECT 1 FROM task t WHERE e.subject = 'task/' || t.id)";
    assert_eq!(world.number(rubbish).await, 0, "a history of nothing");
    let untold = "SELECT count(*) FROM event e WHERE e.subject LIKE 'token/%' AND e.seq = 1
        AND NOT EXISTS (SELECT 1 FROM token t WHERE e.subject = 'token/' || t.id)
        AND NOT EXISTS (SELECT 1 FROM event x WHERE x.subject = e.subject AND x.seq = 2)";
    assert_eq!(world.number(untold).await, 0, "gone without a word");
    for timeline in world.list_timelines("service/", 1000).await.unwrap() {
        let left = world.list_events(&timeline.subject, 0, 1000).await.unwrap();
        assert_eq!(left.len() as u64, timeline.last - timeline.first + 1, "a gap in {}", timeline.subject);
    }
}
