//! The protocol of leases, every order of events of it.
//!
//! One task, a few workers, a janitor. A worker may stop at any moment for any time and go
//! on without knowing (it still believes in its lease), crash, be told to give its task
//! back; a lease may lapse at any moment, because time passes while nobody looks. The
//! checker tries everything. The same protocol with one of its rules left out must fail, or
//! the model would prove nothing: those are the mutants.
//!
//! The rules are those of `shipway-store`: a claim is one transaction and mints a token;
//! every write under a lease compares it; publishing and ending are one transaction.

use stateright::{Checker, Model, Property};

const ATTEMPTS_MAX: u8 = 2;
/// Claims in one history. Give-backs are free, so that without an end there would be
/// infinitely many.
const CLAIMS_MAX: u8 = 7;

/// The rules, and what each is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    All,
    /// A write under a lease only looks whether the task is running.
    NoTokenCompared,
    /// A claim reads, and writes later what it has read (no `SKIP LOCKED`, no transaction).
    ClaimInTwoSteps,
    /// What is made is published first, and the task ended after that.
    PublishBeforeFinish,
    /// A rescue never asks how often a task was tried.
    AttemptsNotCounted,
}

struct Protocol {
    workers: usize,
    rules: Rules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
    Queued,
    Running {
        token: u8,
        /// Its time is over; whoever looks may take it back.
        lapsed: bool,
    },
    Done,
    /// Given up after too many attempts.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Read that the task is queued and has not written yet; a mutant's.
    About,
    /// Believes that it holds the task.
    Working {
        token: u8,
    },
    /// Has published and not yet ended the task; a mutant's.
    Published {
        token: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    task: Task,
    workers: Vec<Worker>,
    /// Tokens minted.
    claims: u8,
    /// Of the task, without those that were given back for free.
    attempts: u8,
    published: u8,
    // What must never, or must at some time, have happened.
    taken_while_held: bool,
    stale_accepted: bool,
    stale_rejected: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Claim(usize),
    Write(usize),
    Beat(usize),
    GiveBack(usize),
    Fail(usize),
    Publish(usize),
    Finish(usize),
    Crash(usize),
    Lapse,
    Rescue,
}

impl State {
    /// The check of every write under a lease. A worker that is refused stops at once.
    fn holds(&mut self, worker: usize, token: u8, rules: Rules) -> bool {
        let Task::Running { token: current, .. } = self.task else {
            return self.refuse(worker);
        };
        let stale = current != token;
        if stale && rules != Rules::NoTokenCompared {
            return self.refuse(worker);
        }
        self.stale_accepted |= stale;
        true
    }

    fn refuse(&mut self, worker: usize) -> bool {
        self.stale_rejected = true;
        self.workers[worker] = Worker::Idle;
        false
    }

    fn take(&mut self, worker: usize) {
        self.taken_while_held |= self.task != Task::Queued;
        self.claims += 1;
        self.attempts += 1;
        self.task = Task::Running { token: self.claims, lapsed: false };
        self.workers[worker] = Worker::Working { token: self.claims };
    }

    /// To the queue, or to its end when it has been tried often enough.
    fn put_back(&mut self, rules: Rules) {
        let is_over = self.attempts >= ATTEMPTS_MAX && rules != Rules::AttemptsNotCounted;
        self.task = if is_over { Task::Dead } else { Task::Queued };
    }

    fn publish(&mut self, worker: usize, token: u8, rules: Rules) {
        if rules == Rules::PublishBeforeFinish {
            self.published += 1;
            self.workers[worker] = Worker::Published { token };
        } else if self.holds(worker, token, rules) {
            self.published += 1;
            self.end(worker);
        }
    }

    fn end(&mut self, worker: usize) {
        self.task = Task::Done;
        self.workers[worker] = Worker::Idle;
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            task: Task::Queued,
            workers: vec![Worker::Idle; self.workers],
            claims: 0,
            attempts: 0,
            published: 0,
            taken_while_held: false,
            stale_accepted: false,
            stale_rejected: false,
        }]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        for (n, worker) in state.workers.iter().enumerate() {
            match worker {
                Worker::Idle if state.task == Task::Queued => events.push(Event::Claim(n)),
                Worker::Idle => {}
                Worker::About => events.push(Event::Write(n)),
                Worker::Working { .. } => {
                    let all = [Event::Beat(n), Event::GiveBack(n), Event::Fail(n), Event::Publish(n), Event::Crash(n)];
                    events.extend(all);
                }
                Worker::Published { .. } => events.extend([Event::Finish(n), Event::Crash(n)]),
            }
        }
        match state.task {
            Task::Running { lapsed: false, .. } => events.push(Event::Lapse),
            Task::Running { lapsed: true, .. } => events.push(Event::Rescue),
            Task::Queued | Task::Done | Task::Dead => {}
        }
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        match event {
            Event::Claim(n) if self.rules == Rules::ClaimInTwoSteps => state.workers[n] = Worker::About,
            Event::Claim(n) | Event::Write(n) => state.take(n),
            Event::Crash(n) => state.workers[n] = Worker::Idle,
            Event::Lapse => {
                let Task::Running { token, .. } = state.task else { return None };
                state.task = Task::Running { token, lapsed: true };
            }
            Event::Rescue => state.put_back(self.rules),
            Event::Beat(n) | Event::GiveBack(n) | Event::Fail(n) | Event::Publish(n) | Event::Finish(n) => {
                let (Worker::Working { token } | Worker::Published { token }) = state.workers[n] else { return None };
                self.write(&mut state, event, n, token);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nobody takes what another holds", |_, state: &State| !state.taken_while_held),
            Property::always("no stale write is accepted", |_, state: &State| !state.stale_accepted),
            Property::always("published once at most", |_, state: &State| state.published <= 1),
            Property::always("done means published", |_, state: &State| {
                state.task != Task::Done || state.published == 1
            }),
            Property::always("tried no more often than allowed", |_, state: &State| state.attempts <= ATTEMPTS_MAX),
            // Else the rest would be true of a protocol in which nothing happens.
            Property::sometimes("a zombie is refused", |_, state: &State| state.stale_rejected),
            Property::sometimes("done after a rescue", |_, state: &State| {
                state.task == Task::Done && state.attempts == 2 && state.stale_rejected
            }),
            Property::sometimes("given up", |_, state: &State| state.task == Task::Dead),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.claims <= CLAIMS_MAX
    }
}

impl Protocol {
    /// A write that says under which lease.
    fn write(&self, state: &mut State, event: Event, worker: usize, token: u8) {
        match event {
            Event::Publish(_) => state.publish(worker, token, self.rules),
            Event::Finish(_) if state.holds(worker, token, self.rules) => state.end(worker),
            Event::Beat(_) if state.holds(worker, token, self.rules) => {
                state.task = Task::Running { token, lapsed: false };
            }
            Event::GiveBack(_) if state.holds(worker, token, self.rules) => {
                state.attempts -= 1;
                state.task = Task::Queued;
                state.workers[worker] = Worker::Idle;
            }
            Event::Fail(_) if state.holds(worker, token, self.rules) => {
                state.put_back(self.rules);
                state.workers[worker] = Worker::Idle;
            }
            _ => {}
        }
    }
}

/// What the checker found: broken promises, and promised things that never happen.
fn findings(workers: usize, rules: Rules) -> (usize, Vec<&'static str>) {
    let checker = Protocol { workers, rules }.checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    let wrong = checker.model().properties().into_iter().filter(|property| {
        let expected = matches!(property.expectation, stateright::Expectation::Sometimes);
        found.contains_key(property.name) != expected
    });
    (checker.unique_state_count(), wrong.map(|property| property.name).collect())
}

#[test]
fn whatever_happens_the_promises_hold() {
    for workers in [2, 3, 5] {
        let (states, wrong) = findings(workers, Rules::All);
        assert!(wrong.is_empty(), "{workers} workers: {wrong:?}");
        assert!(states > 200, "{states} states are not everything");
    }
}

#[test]
fn without_the_token_a_zombie_is_believed() {
    let (_, wrong) = findings(2, Rules::NoTokenCompared);
    assert!(wrong.contains(&"no stale write is accepted"), "{wrong:?}");
}

#[test]
fn a_claim_in_two_steps_takes_what_another_holds() {
    let (_, wrong) = findings(2, Rules::ClaimInTwoSteps);
    assert!(wrong.contains(&"nobody takes what another holds"), "{wrong:?}");
}

#[test]
fn publishing_before_the_end_publishes_twice() {
    let (_, wrong) = findings(2, Rules::PublishBeforeFinish);
    assert!(wrong.contains(&"published once at most"), "{wrong:?}");
}

#[test]
fn attempts_that_are_not_counted_go_on_for_ever() {
    let (_, wrong) = findings(2, Rules::AttemptsNotCounted);
    assert!(wrong.contains(&"tried no more often than allowed") && wrong.contains(&"given up"), "{wrong:?}");
}
