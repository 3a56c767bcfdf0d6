//! The first token, made at the first start and kept where only root can read it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use shipway_api::Secret;
use shipway_model::{ProjectName, TokenId};
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_store::{Store, Token};
use uuid::Uuid;

use crate::platform;

const NAME: &str = "admin, made at the first start";

/// Where several hosts share a database, each has a token and a file of its own.
fn name(store: &Store) -> String {
    if !store.is_shared() {
        return NAME.to_owned();
    }
    format!("{NAME} on {}", platform::host_name())
}

/// Makes the admin token unless its file is there and works. The store has only
/// its hash, so a lost file means a new token, and the old one is revoked.
pub(crate) async fn ensure(store: &Store, path: &Path) -> anyhow::Result<()> {
    let kept = fs::read_to_string(path).ok().and_then(|text| Secret::parse(text.trim()));
    if let Some(secret) = kept
        && store.use_token(secret.sha256()).await?.is_some()
    {
        return Ok(());
    }
    let name = name(store);
    for token in store.list_tokens().await?.iter().filter(|token| token.name == name) {
        store.revoke_token(token.id, "system").await?;
    }
    let secret = Secret::mint().context("cannot make a secret")?;
    let token = Token {
        id: TokenId(Uuid::new_v4()),
        name,
        role: "admin".to_owned(),
        project: ProjectName::default(),
        created_at: store.now().await?,
        expires_at: None,
        last_used_at: None,
    };
    store.add_token(&token, secret.sha256(), "system").await?;
    let text = format!("{}\n", secret.reveal());
    write_atomic(path, text.as_bytes(), 0o600, Durability::Power)
        .with_context(|| format!("cannot write the admin token to {}", path.display()))
}
