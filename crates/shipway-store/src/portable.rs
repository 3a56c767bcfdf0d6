//! All that the database holds, as a file: to be taken from SQLite to PostgreSQL, and back.
//!
//! One JSON object a line: a head with the form's and the schema's number, a line for each
//! row with the name of its table, an end with their count. So a file that was cut off is
//! known as one. Workers are left out: they live, and say themselves who they are.

use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::db::Db;
use crate::door::Tx;
use crate::query::{Value, query};
use crate::values::number;
use crate::{Store, StoreError, schema};

/// The form of the file that this version writes.
const FORM: u32 = 1;

/// The longest line: a row is far smaller.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// Rows read at once.
const PAGE: i64 = 5000;

/// Why a file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database to be filled is not empty.
    #[error("the database is not empty: it has {rows} rows of {table}")]
    NotEmpty {
        /// Which table has rows.
        table: &'static str,
        /// How many.
        rows: u64,
    },
    /// A newer version has added something that this one would leave out.
    #[error("the database has schema {found}, and this version knows up to {known}: export it with a newer one")]
    Newer {
        /// What it has.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// The file is not one of ours, was cut off, or comes from another version.
    #[error("line {line} of the file: {reason}")]
    Form {
        /// Counted from 1.
        line: u64,
        /// In words.
        reason: String,
    },
    /// The file could not be read or written.
    #[error("the file failed")]
    File(#[from] io::Error),
}

/// A table: its order, and its columns by what they hold.
struct Table {
    name: &'static str,
    order: &'static str,
    texts: &'static [&'static str],
    numbers: &'static [&'static str],
}

/// In an order in which each row finds what it refers to. `secret_sha256` of `token` is
/// the only column with bytes; it is written in hexadecimal.
const TABLES: [Table; 10] = [
    Table {
        name: "service",
        order: "id",
        texts: &["id", "project", "name", "wanted", "state", "reason", "engine"],
        numbers: &["release", "version", "created_at", "updated_at"],
    },
    Table {
        name: "release",
        order: "service, number",
        texts: &["service", "project", "spec", "state", "reason", "image"],
        numbers: &["number", "created_at"],
    },
    Table {
        name: "instance",
        order: "container",
        texts: &["container", "service", "project", "role", "endpoint", "handle"],
        numbers: &["release", "failures", "started_at"],
    },
    Table {
        name: "task",
        order: "number",
        texts: &[
            "id", "project", "subject", "kind", "payload", "actor", "state", "worker", "outcome", "engine", "labels",
            "work_key",
        ],
        numbers: &[
            "number",
            "priority",
            "not_before",
            "attempt",
            "attempts_max",
            "lease_token",
            "lease_until",
            "deadline_at",
            "created_at",
            "claimed_at",
            "ended_at",
            "released",
            "given_up_at",
            "unread_by",
        ],
    },
    Table { name: "event", order: "subject, seq", texts: &["subject", "project", "kind"], numbers: &["seq", "at"] },
    Table {
        name: "token",
        order: "id",
        texts: &["id", "project", "name", "role", SECRET],
        numbers: &["created_at", "expires_at", "last_used_at"],
    },
    Table {
        name: "image",
        order: "project, name",
        texts: &["project", "name", "digest", "source"],
        numbers: &["size_bytes", "entries", "created_at"],
    },
    Table {
        name: "build",
        order: "number",
        texts: &["id", "project", "recipe", "build_key", "spec", "state", "failure", "task"],
        numbers: &["number", "generation", "created_at", "updated_at"],
    },
    Table {
        name: "artifact",
        order: "build",
        texts: &["build", "digest", "file_name", "chunks"],
        numbers: &["size_bytes", "made_at"],
    },
    Table { name: "document", order: "build, kind", texts: &["build", "kind", "text"], numbers: &[] },
];

const SECRET: &str = "secret_sha256";

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Head { shipway_export: u32, schema: i64 },
    Row { table: String, row: Map<String, Json> },
    End { rows: u64 },
}

impl Table {
    fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.texts.iter().chain(self.numbers).copied()
    }

    /// Reads rows as JSON, `$1` at most, after the first `$2`.
    fn select(&self) -> String {
        let value = |column| if column == SECRET { "{secret_hex}" } else { column };
        let pairs: Vec<String> = self.columns().map(|column| format!("'{column}', {}", value(column))).collect();
        let (pairs, name, order) = (pairs.join(", "), self.name, self.order);
        format!("SELECT CAST({{json_object}}({pairs}) AS TEXT) FROM {name} ORDER BY {order} LIMIT $1 OFFSET $2")
    }

    fn insert(&self) -> String {
        let columns: Vec<&str> = self.columns().collect();
        let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.name, columns.join(", "), places.join(", "))
    }

    /// The values of a row, in the order of the columns.
    fn values(&self, mut row: Map<String, Json>) -> Result<Vec<Value>, String> {
        let texts = self.texts.iter().map(|column| (column, true));
        let all = texts.chain(self.numbers.iter().map(|column| (column, false)));
        let values = all
            .map(|(column, is_text)| match (row.remove(*column).unwrap_or_default(), is_text) {
                (Json::Null, true) => Ok(Value::Text(None)),
                (Json::Null, false) => Ok(Value::Number(None)),
                (Json::String(hex), true) if *column == SECRET => bytes(&hex).map(Value::Bytes),
                (Json::String(text), true) => Ok(Value::Text(Some(text))),
                (Json::Number(number), false) if number.is_i64() => Ok(Value::Number(number.as_i64())),
                (other, _) => Err(format!("`{column}` of {} cannot be {other}", self.name)),
            })
            .collect::<Result<_, _>>()?;
        match row.keys().next() {
            Some(unknown) => Err(format!("{} has no column `{unknown}`", self.name)),
            None => Ok(values),
        }
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(pair).collect();
    bytes.ok_or_else(|| "a token's hash is not in hexadecimal".to_owned())
}

impl Store {
    /// Writes all rows to a file. Nothing should change the database meanwhile. Returns how
    /// many rows there were.
    ///
    /// # Errors
    ///
    /// [`PortableError::Newer`], [`PortableError::File`], [`PortableError::Store`].
    pub async fn export(&self, out: &mut (impl Write + Send)) -> Result<u64, PortableError> {
        let known = self.0.schema.known;
        let found = self.read(async |db| Ok(query(schema::FOUND).scalar(db).await?)).await?;
        if found > known {
            return Err(PortableError::Newer { found, known });
        }
        write_line(out, &Line::Head { shipway_export: FORM, schema: known })?;
        let mut rows = 0;
        for table in &TABLES {
            let mut read = 0;
            loop {
                let page: Vec<String> =
                    self.read(async |db| Ok(query(table.select()).bind(PAGE).bind(read).scalars(db).await?)).await?;
                for row in &page {
                    let row = serde_json::from_str(row).map_err(|error| StoreError::Corrupt(error.to_string()))?;
                    write_line(out, &Line::Row { table: table.name.to_owned(), row })?;
                    rows += 1;
                }
                match i64::try_from(page.len()) {
                    Ok(PAGE) => read += PAGE,
                    _ => break,
                }
            }
        }
        write_line(out, &Line::End { rows })?;
        out.flush()?;
        Ok(rows)
    }

    /// Fills an empty database from a file that [`export`](Self::export) wrote, whole or not
    /// at all. Returns how many rows there were. In SQLite services belong to no engine:
    /// the only process has them all.
    ///
    /// # Errors
    ///
    /// [`PortableError::NotEmpty`], [`PortableError::Form`], [`PortableError::File`],
    /// [`PortableError::Store`]; then nothing was changed.
    pub async fn import(&self, file: impl BufRead + Send + 'static) -> Result<u64, PortableError> {
        self.write_long(move |tx| {
            Box::pin(async move {
                let filled = fill(tx, file).await;
                tx.undo = filled.is_err();
                Ok(filled)
            })
        })
        .await?
    }
}

fn write_line(out: &mut impl Write, line: &Line) -> Result<(), PortableError> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Reads a file line by line.
struct Lines<F> {
    file: F,
    line: u64,
}

impl<F: BufRead> Lines<F> {
    fn bad(&self, reason: impl Into<String>) -> PortableError {
        PortableError::Form { line: self.line, reason: reason.into() }
    }

    fn next(&mut self) -> Result<Line, PortableError> {
        self.line += 1;
        let mut text = Vec::new();
        (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut text)?;
        match text.last() {
            None => Err(self.bad("the file ends too early")),
            Some(b'\n') => serde_json::from_slice(&text).map_err(|_| self.bad("this is no line of an export")),
            Some(_) => Err(self.bad("the line has no end, or is too long")),
        }
    }
}

async fn fill(tx: &mut Tx, file: impl BufRead) -> Result<u64, PortableError> {
    must_be_empty(tx).await?;
    let mut lines = Lines { file, line: 0 };
    match lines.next()? {
        Line::Head { shipway_export: FORM, schema } if schema == tx.schema().known => {}
        Line::Head { schema, .. } => {
            let known = tx.schema().known;
            let reason = format!("it was written by a version with schema {schema}; this one has {known}");
            return Err(lines.bad(reason));
        }
        _ => return Err(lines.bad("the head of an export is missing")),
    }
    let mut filled = 0;
    loop {
        match lines.next()? {
            Line::Row { table, row } => {
                let table = TABLES.iter().find(|known| known.name == table);
                let table = table.ok_or_else(|| lines.bad("there is no such table"))?;
                let values = table.values(row).map_err(|reason| lines.bad(reason))?;
                let insert = values.into_iter().fold(query(table.insert()), |query, value| query.bind(value));
                insert.execute(tx.db()).await.map_err(StoreError::from)?;
                filled += 1;
            }
            Line::End { rows } if rows == filled => break,
            Line::End { rows } => return Err(lines.bad(format!("{rows} rows were written, {filled} are here"))),
            Line::Head { .. } => return Err(lines.bad("a second head")),
        }
    }
    settle(tx).await?;
    Ok(filled)
}

async fn must_be_empty(tx: &mut Tx) -> Result<(), PortableError> {
    for table in &TABLES {
        let rows: i64 =
            query(format!("SELECT count(*) FROM {}", table.name)).scalar(tx.db()).await.map_err(StoreError::from)?;
        if rows > 0 {
            return Err(PortableError::NotEmpty { table: table.name, rows: number("a count", rows)? });
        }
    }
    Ok(())
}

/// What counts goes on from where the rows are.
async fn settle(tx: &mut Tx) -> Result<(), StoreError> {
    let sql: &[&str] = match tx.db() {
        Db::Sqlite(..) => &[
            "UPDATE counter SET value = (SELECT coalesce(max(lease_token), 0) FROM task) WHERE name = 'lease'",
            "UPDATE service SET engine = NULL",
            "UPDATE task SET engine = NULL",
        ],
        Db::Postgres(..) => &[
            "SELECT setval('lease_token', (SELECT coalesce(max(lease_token), 0) + 1 FROM task))",
            "SELECT setval(pg_get_serial_sequence('task', 'number'), (SELECT coalesce(max(number), 0) + 1 FROM task))",
            "SELECT setval(pg_get_serial_sequence('build', 'number'), (SELECT coalesce(max(number), 0) + 1 FROM build))",
        ],
    };
    for statement in sql {
        query(*statement).execute(tx.db()).await?;
    }
    tx.changed = crate::door::Changed::ALL;
    Ok(())
}
