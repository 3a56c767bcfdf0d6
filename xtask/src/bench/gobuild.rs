//! `gobuild`: Caddy with a plugin that nobody has built yet, through Shipway and by hand with
//! the same go command; what is built already; and a thousand who ask at once.
//!
//! Plugins are small ones of our own in a folder that is a module proxy; Caddy comes from the
//! proxies that the go command is set to. What is compared is the compile step alone: what is
//! asked of proxies before depends on how far away they are, and is reported beside it.

mod answers;
mod crowd;
mod farm;
mod hand;
mod plugins;

use std::time::Duration;

use super::row::{Row, median};
use crate::sh::say;
use answers::Answers;
use farm::Farm;
use hand::Hand;
use plugins::Plugins;

/// What is built.
const MODULE: &str = "github.com/caddyserver/caddy/v2";
const VERSION: &str = "v2.11.9";

const WARM_BAR: f64 = 1.15;
const COLD_BAR: f64 = 10.0;
const ANSWER_BAR_MS: f64 = 10.0;

pub(super) fn gobuild(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let plugins = Plugins::new();
    let hand = Hand::lay(&plugins)?;
    say("by hand, from cold");
    let cold = hand.compile()?;
    say("Shipway, from cold, and its cache");
    let farm = Farm::start(&plugins)?;
    let first = farm.build(None)?;
    farm.wait_warm();
    let mut measured = Vec::new();
    for round in 1..=rounds {
        say(&format!("round {round}"));
        let name = plugins.next();
        hand.require(&name)?;
        measured.push((hand.compile()?, farm.build(Some(&name))?));
    }
    let mut rows = rows(cold, &first, &measured);
    rows.extend(answered(&Answers::measure(&farm)?));
    rows.push(crowd::thousand(&farm, &plugins.next())?);
    Ok(rows)
}

fn rows(cold: Duration, first: &farm::Timing, measured: &[(Duration, farm::Timing)]) -> Vec<Row> {
    let middle = |value: fn(&(Duration, farm::Timing)) -> f64| median(measured.iter().map(value).collect());
    let (hand, ours) = (middle(|(hand, _)| hand.as_secs_f64()), middle(|(_, ours)| ours.compile.as_secs_f64()));
    let ratio = middle(|(hand, ours)| ours.compile.as_secs_f64() / hand.as_secs_f64());
    let gain = cold.as_secs_f64() / ours;
    let row = |work: &str, peer: String, ours: String, ratio, bar: String, held| Row {
        bench: "gobuild",
        work: work.to_owned(),
        peer,
        ours,
        ratio,
        bar,
        held,
    };
    let seconds = |name: &str, value: f64| format!("{name}{value:.2} s");
    let (asked, fetched) =
        (middle(|(_, ours)| ours.resolve.as_secs_f64()), middle(|(_, ours)| ours.download.as_secs_f64()));
    vec![
        row(
            "Caddy, a new plugin, compile step, warm",
            seconds("go build by hand, warm: ", hand),
            seconds("", ours),
            Some(ratio),
            format!("≤ {WARM_BAR} ×"),
            Some(ratio <= WARM_BAR),
        ),
        row(
            "the same",
            seconds("go build by hand, cold: ", cold.as_secs_f64()),
            seconds("", ours),
            Some(gain),
            format!("≥ {COLD_BAR} ×"),
            Some(gain >= COLD_BAR),
        ),
        row(
            "the same, versions settled; modules fetched",
            "-".to_owned(),
            format!("{asked:.2} s; {fetched:.2} s"),
            None,
            "-".to_owned(),
            None,
        ),
        row(
            "the same, from asked to published",
            "-".to_owned(),
            seconds("", middle(|(_, ours)| ours.whole.as_secs_f64())),
            None,
            "-".to_owned(),
            None,
        ),
        row(
            "Caddy alone, compile step, cold",
            seconds("go build by hand, cold: ", cold.as_secs_f64()),
            seconds("", first.compile.as_secs_f64()),
            Some(first.compile.as_secs_f64() / cold.as_secs_f64()),
            "-".to_owned(),
            None,
        ),
    ]
}

fn answered(answers: &Answers) -> Vec<Row> {
    let row = |work: &str, [half, most]: [f64; 2]| Row {
        bench: "gobuild",
        work: work.to_owned(),
        peer: "-".to_owned(),
        ours: format!("p50 {half:.1} ms, p99 {most:.1} ms"),
        ratio: None,
        bar: format!("< {ANSWER_BAR_MS} ms"),
        held: Some(most < ANSWER_BAR_MS),
    };
    vec![
        row("what is built: HEAD /api/download", answers.head),
        row("what is built: GET /api/compat, first byte", answers.first_byte),
    ]
}
