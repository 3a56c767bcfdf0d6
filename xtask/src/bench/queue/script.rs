//! The statements of one turn, as the store sent them, with places where the task's own
//! values go.

use anyhow::Context as _;
use serde_json::Value;

/// A value of the task's, different in each turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Id,
    Subject,
    Project,
    Token,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Fixed(String),
    Own(Own),
}

/// A value to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Null,
    Number(i64),
    /// The lease's token, as a number.
    Token,
    Text(Vec<Piece>),
}

/// A message: one statement with values, or several without.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) sql: String,
    pub(super) values: Vec<Bound>,
}

impl Message {
    /// Whether it is the one that says which task it is.
    pub(super) fn claims(&self) -> bool {
        self.sql.contains("RETURNING id, project, subject")
    }
}

/// One turn: a claim and a finish.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) messages: Vec<Message>,
    /// How PostgreSQL is told to behave when a session begins.
    pub(super) settings: Vec<(String, String)>,
}

impl Script {
    /// Reads what `measure_queue statements` printed.
    pub(super) fn of(said: &Value) -> anyhow::Result<Self> {
        let task = Task::of(said).context("a task's value is missing")?;
        let all = ["claim", "finish"].iter().flat_map(|part| said[*part].as_array().into_iter().flatten());
        let messages = all.map(|one| {
            let sql = one["sql"].as_str().context("a statement without text")?;
            // As it is, but in one line.
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let values = one["values"].as_array().context("a statement without values")?;
            let values = values.iter().map(|value| task.bound(value)).collect::<anyhow::Result<_>>()?;
            Ok(Message { sql, values })
        });
        let settings = serde_json::from_value(said["settings"].clone()).context("no settings")?;
        let script = Self { messages: messages.collect::<anyhow::Result<_>>()?, settings };
        anyhow::ensure!(script.messages.iter().filter(|message| message.claims()).count() == 1, "no claim in {said}");
        Ok(script)
    }
}

struct Task {
    texts: [(String, Own); 4],
    token: i64,
}

impl Task {
    fn of(said: &Value) -> Option<Self> {
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        let token = said["token"].as_i64()?;
        let texts = [
            (text("id")?, Own::Id),
            (text("subject")?, Own::Subject),
            (text("project")?, Own::Project),
            // Nowhere in a text but in a history.
            (format!("\"token\":{token},"), Own::Token),
        ];
        Some(Self { texts, token })
    }

    fn bound(&self, value: &Value) -> anyhow::Result<Bound> {
        Ok(match value {
            Value::Null => Bound::Null,
            Value::Number(number) if number.as_i64() == Some(self.token) => Bound::Token,
            Value::Number(number) => Bound::Number(number.as_i64().context("a number that is too large")?),
            Value::String(text) => Bound::Text(self.pieces(text)),
            other => anyhow::bail!("a value of a kind not met before: {other}"),
        })
    }

    fn pieces(&self, text: &str) -> Vec<Piece> {
        let found = self.texts.iter().find_map(|(own, which)| Some((text.split_once(own.as_str())?, *which)));
        let Some(((before, behind), which)) = found else {
            return if text.is_empty() { Vec::new() } else { vec![Piece::Fixed(text.to_owned())] };
        };
        let own = match which {
            Own::Token => vec![Piece::Fixed("\"token\":".into()), Piece::Own(which), Piece::Fixed(",".into())],
            _ => vec![Piece::Own(which)],
        };
        self.pieces(before).into_iter().chain(own).chain(self.pieces(behind)).collect()
    }
}
