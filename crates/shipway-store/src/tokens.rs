//! API tokens, by the SHA-256 of their secrets: who reads this table can call
//! nothing.

use shipway_model::{EventKind, Micros, TokenId};
use sqlx::FromRow;

use crate::db::Db;
use crate::door::{Durability, Tx};
use crate::query::query;
use crate::values::parse;
use crate::{Store, StoreError, Token};

/// How exactly a token's last use is known. Finer costs a write for each call.
const USE_GRAIN: Micros = 60 * 1_000_000;

macro_rules! columns {
    () => {
        "id, project, name, role, created_at, expires_at, last_used_at"
    };
}

#[derive(FromRow)]
struct TokenRow {
    id: String,
    project: String,
    name: String,
    role: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl TokenRow {
    fn read(self) -> Result<Token, StoreError> {
        Ok(Token {
            id: parse("a token's id", &self.id)?,
            project: parse("a token's project", &self.project)?,
            name: self.name,
            role: self.role,
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
        })
    }
}

fn subject(token: TokenId) -> String {
    format!("token/{token}")
}

fn event(change: &str, actor: &str) -> EventKind {
    EventKind::Token { change: change.to_owned(), actor: actor.to_owned() }
}

impl Store {
    /// Keeps a token by the SHA-256 of its secret.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] when there is one of
    /// this id or secret already.
    pub async fn add_token(&self, token: &Token, secret_sha256: [u8; 32], actor: &str) -> Result<(), StoreError> {
        let (token, actor) = (token.clone(), actor.to_owned());
        self.write(move |tx| Box::pin(tx.add_token(token, secret_sha256, actor))).await
    }

    /// Finds a token that has not expired by the hash of its secret, and notes its use
    /// (to the minute; a token works also while the database takes no writes).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn use_token(&self, secret_sha256: [u8; 32]) -> Result<Option<Token>, StoreError> {
        let found: Option<(TokenRow, Micros)> = self.read(async |db| find(db, &secret_sha256).await).await?;
        let Some((row, now)) = found else {
            return Ok(None);
        };
        let mut token = row.read()?;
        let grain = now - now.rem_euclid(USE_GRAIN);
        if token.last_used_at.is_none_or(|last| last < grain) && self.may_note(token.id, grain) {
            match self.note_use(token.id, grain).await {
                Ok(()) => token.last_used_at = Some(grain),
                Err(error) => tracing::warn!(token.id = %token.id, %error, "use not noted"),
            }
        }
        Ok(Some(token))
    }

    /// Whether nobody has tried in this minute. Tried, not managed: a locked
    /// database must not hold up every single call.
    fn may_note(&self, token: TokenId, grain: Micros) -> bool {
        self.0.uses_noted.lock().is_ok_and(|mut noted| noted.insert(token, grain) != Some(grain))
    }

    async fn note_use(&self, token: TokenId, at: Micros) -> Result<(), StoreError> {
        self.write_surviving(Durability::Process, move |tx| Box::pin(tx.note_use(token, at))).await
    }

    /// All tokens, expired ones included, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        let rows: Vec<TokenRow> = self
            .read(async |db| {
                Ok(query(concat!("SELECT ", columns!(), " FROM token ORDER BY created_at, id")).fetch_all(db).await?)
            })
            .await?;
        rows.into_iter().map(TokenRow::read).collect()
    }

    /// Ends a token at once. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn revoke_token(&self, id: TokenId, actor: &str) -> Result<bool, StoreError> {
        let actor = actor.to_owned();
        let was_there = self.write(move |tx| Box::pin(tx.revoke_token(id, actor))).await?;
        if let Ok(mut noted) = self.0.uses_noted.lock() {
            noted.remove(&id);
        }
        Ok(was_there)
    }
}

#[derive(FromRow)]
struct FoundRow {
    #[sqlx(flatten)]
    token: TokenRow,
    now: i64,
}

async fn find(db: &mut Db, secret_sha256: &[u8; 32]) -> Result<Option<(TokenRow, Micros)>, StoreError> {
    let row: Option<FoundRow> = query(concat!(
        "SELECT ",
        columns!(),
        ", {now} AS now FROM token
         WHERE secret_sha256 = $1 AND (expires_at IS NULL OR expires_at > {now})"
    ))
    .bind(secret_sha256.to_vec())
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.token, row.now)))
}

impl Tx {
    async fn add_token(&mut self, token: Token, secret_sha256: [u8; 32], actor: String) -> Result<(), StoreError> {
        query(
            "INSERT INTO token
                     (id, project, name, role, secret_sha256, created_at, expires_at, last_used_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(token.id.to_string())
        .bind(token.project.as_str())
        .bind(&token.name)
        .bind(&token.role)
        .bind(secret_sha256.to_vec())
        .bind(token.created_at)
        .bind(token.expires_at)
        .bind(token.last_used_at)
        .execute(self.db())
        .await?;
        self.event(&subject(token.id), token.project.as_str(), &event("created", &actor)).await
    }

    async fn note_use(&mut self, token: TokenId, at: Micros) -> Result<(), StoreError> {
        query("UPDATE token SET last_used_at = $2 WHERE id = $1")
            .bind(token.to_string())
            .bind(at)
            .execute(self.db())
            .await?;
        Ok(())
    }

    async fn revoke_token(&mut self, id: TokenId, actor: String) -> Result<bool, StoreError> {
        let project: Option<String> = query("DELETE FROM token WHERE id = $1 RETURNING project")
            .bind(id.to_string())
            .scalar_optional(self.db())
            .await?;
        let Some(project) = project else {
            return Ok(false);
        };
        self.event(&subject(id), &project, &event("revoked", &actor)).await?;
        Ok(true)
    }
}
