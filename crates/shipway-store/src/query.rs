//! One statement, for whichever database is behind the store.
//!
//! SQL stands once in this crate, in the dialect that SQLite and PostgreSQL share. Where
//! they differ in a word, the text has a name in braces (`{now}`), and each dialect puts in
//! its own. Values are bound as `$1`, `$2` …, and rows are read by name, on both alike.

use std::borrow::Cow;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Arguments, AssertSqlSafe, Database, Decode, Encode, FromRow, Postgres, Sqlite, Type};

use crate::db::Db;
#[cfg(feature = "mutants")]
use crate::mutants::twisted;
use crate::shelf::Taken;
use crate::{postgres, sqlite};

/// What a row of either database can be read into.
pub(crate) trait Readable: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

impl<T> Readable for T where T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

/// What a column of either database can be read into.
pub(crate) trait Scalar:
    Send + Unpin + Type<Sqlite> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres>
{
}

impl<T> Scalar for T where
    T: Send + Unpin + Type<Sqlite> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres>
{
}

/// A value to be bound. `None` keeps its type, which PostgreSQL wants to know.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    Truth(bool),
    Bytes(Vec<u8>),
}

macro_rules! value_of {
    ($($from:ty => |$value:ident| $make:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $make
            }
        }
    )*};
}

value_of! {
    i64 => |value| Self::Number(Some(value));
    Option<i64> => |value| Self::Number(value);
    &str => |value| Self::Text(Some(value.to_owned()));
    &String => |value| Self::Text(Some(value.clone()));
    String => |value| Self::Text(Some(value));
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    Option<String> => |value| Self::Text(value);
    &Option<String> => |value| Self::Text(value.clone());
    bool => |value| Self::Truth(value);
    Vec<u8> => |value| Self::Bytes(value);
}

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// Statements whose results nobody reads, waiting for the next one: SQLite takes them all
/// in one message, in their order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    sql: String,
    values: Vec<Value>,
    statements: usize,
}

/// The most that wait. More would make ever longer texts of what is done for each of many,
/// and SQLite would prepare and keep each of them.
const BATCH_MAX: usize = 16;

impl Batch {
    pub(crate) const fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    fn add(&mut self, sql: &str, values: Vec<Value>) {
        if !self.is_empty() {
            self.sql.push(';');
        }
        renumbered(sql, self.values.len(), &mut self.sql);
        self.values.extend(values);
        self.statements += 1;
    }

    /// Sends what waits, and `last` (without values) behind it.
    pub(crate) async fn send_with(&mut self, last: &str, db: &mut Taken<Sqlite>) -> sqlx::Result<()> {
        self.add(last, Vec::new());
        self.send(db).await
    }

    async fn send(&mut self, db: &mut Taken<Sqlite>) -> sqlx::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let Self { sql, values, .. } = std::mem::take(self);
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments::<Sqlite>(values)?);
        query.execute(&mut **db).await.map(drop)
    }
}

/// Appends a statement whose `$1` is to be the value after the first `before` ones.
fn renumbered(sql: &str, before: usize, into: &mut String) {
    let mut parts = sql.split('$');
    into.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|char: char| char.is_ascii_digit()).len();
        let number: usize = part[..digits].parse().expect("a $ stands before a number only");
        into.push_str(&format!("${}{}", number + before, &part[digits..]));
    }
}

/// Begins a statement.
pub(crate) fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: Vec::new() }
}

impl Query {
    /// Binds the next value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it in its turn, for its effect: what it did is not told, and it must return no
    /// rows. On SQLite it is sent with the next statement that has an answer, or the commit,
    /// and may fail there.
    pub(crate) async fn later(self, db: &mut Db) -> sqlx::Result<()> {
        let Db::Sqlite(db, batch) = db else { return self.execute(db).await.map(drop) };
        if batch.statements == BATCH_MAX {
            batch.send(db).await?;
        }
        let Self { sql, values } = self.noted(sqlite::WORDS);
        batch.add(&sql, values);
        Ok(())
    }

    /// Runs it; returns how many rows it changed.
    pub(crate) async fn execute(self, db: &mut Db) -> sqlx::Result<u64> {
        match db {
            Db::Sqlite(db, batch) => {
                // Not together: their changes would be counted, too.
                batch.send(db).await?;
                let (sql, bound) = self.noted(sqlite::WORDS).behind(batch);
                Ok(sqlx::query_with(sql, bound?).execute(&mut **db).await?.rows_affected())
            }
            Db::Postgres(db, link) => {
                let (sql, bound) = self.for_postgres();
                let query = sqlx::query_with(sql, bound?).persistent(link.keeps_statements());
                Ok(query.execute(&mut **db).await?.rows_affected())
            }
        }
    }

    /// Reads all its rows.
    pub(crate) async fn fetch_all<T: Readable>(self, db: &mut Db) -> sqlx::Result<Vec<T>> {
        match db {
            Db::Sqlite(db, batch) => {
                let (sql, bound) = self.noted(sqlite::WORDS).behind(batch);
                sqlx::query_as_with(sql, bound?).fetch_all(&mut **db).await
            }
            Db::Postgres(db, link) => {
                let (sql, bound) = self.for_postgres();
                let query = sqlx::query_as_with(sql, bound?).persistent(link.keeps_statements());
                query.fetch_all(&mut **db).await
            }
        }
    }

    /// Reads its first row, if it has any. Only for statements with one row at most.
    pub(crate) async fn fetch_optional<T: Readable>(self, db: &mut Db) -> sqlx::Result<Option<T>> {
        Ok(self.fetch_all(db).await?.into_iter().next())
    }

    /// Reads its first row; none is an error.
    pub(crate) async fn fetch_one<T: Readable>(self, db: &mut Db) -> sqlx::Result<T> {
        self.fetch_optional(db).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads the first column of all its rows.
    pub(crate) async fn scalars<T: Scalar>(self, db: &mut Db) -> sqlx::Result<Vec<T>> {
        let rows: Vec<(T,)> = self.fetch_all(db).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// Reads the first column of its first row; no row is an error.
    pub(crate) async fn scalar<T: Scalar>(self, db: &mut Db) -> sqlx::Result<T> {
        let (value,) = self.fetch_one(db).await?;
        Ok(value)
    }

    /// Reads the first column of its first row, if it has any.
    pub(crate) async fn scalar_optional<T: Scalar>(self, db: &mut Db) -> sqlx::Result<Option<T>> {
        let row: Option<(T,)> = self.fetch_optional(db).await?;
        Ok(row.map(|(value,)| value))
    }

    /// With its dialect's words.
    fn noted(self, words: &[(&str, &str)]) -> Self {
        let sql = twisted(worded(self.sql, words));
        #[cfg(feature = "next-version")]
        let sql = crate::next_version::renamed(sql);
        #[cfg(feature = "testing")]
        crate::testing::note_statement(&sql, &self.values);
        Self { sql: sql.into(), values: self.values }
    }

    /// Behind what waits, which waits no longer.
    fn behind(self, batch: &mut Batch) -> (AssertSqlSafe<String>, Bound<Sqlite>) {
        let mut batch = std::mem::take(batch);
        if batch.is_empty() {
            return (AssertSqlSafe(self.sql.into_owned()), arguments::<Sqlite>(self.values));
        }
        batch.add(&self.sql, self.values);
        (AssertSqlSafe(batch.sql), arguments::<Sqlite>(batch.values))
    }

    fn for_postgres(self) -> (AssertSqlSafe<String>, Bound<Postgres>) {
        let Self { sql, values } = self.noted(postgres::WORDS);
        (AssertSqlSafe(sql.into_owned()), arguments::<Postgres>(values.into_iter().map(postgres::storable)))
    }
}

/// What is written here is what runs; only the torture suite has it otherwise.
#[cfg(not(feature = "mutants"))]
const fn twisted(sql: String) -> String {
    sql
}

type Bound<D> = sqlx::Result<<D as Database>::Arguments>;

fn arguments<D: Database>(values: impl IntoIterator<Item = Value>) -> Bound<D>
where
    D::Arguments: Arguments<Database = D>,
    Option<i64>: Encode<'static, D> + Type<D>,
    Option<String>: Encode<'static, D> + Type<D>,
    bool: Encode<'static, D> + Type<D>,
    Vec<u8>: Encode<'static, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    for value in values {
        match value {
            Value::Number(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Truth(truth) => arguments.add(truth),
            Value::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// A statement with the dialect's words put in, in one pass: it happens at every call.
pub(crate) fn worded(sql: Cow<'static, str>, words: &[(&str, &str)]) -> String {
    let mut parts = sql.split('{');
    let first = parts.next().unwrap_or_default();
    if first.len() == sql.len() {
        return sql.into_owned();
    }
    let mut text = String::with_capacity(sql.len() * 2);
    text.push_str(first);
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        let word = words.iter().find(|(known, _)| *known == name).map(|(_, word)| *word);
        text.push_str(word.expect("every name in braces is a word of both dialects"));
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests;
