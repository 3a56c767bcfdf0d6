//! The first token, made at the first start and kept where only root can read it.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use shipway_model::{ProjectName, TokenId};
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_store::{Store, Token};
use uuid::Uuid;

/// Makes the admin token unless its file is there. The store has only its hash,
/// so a lost file means a new token, and the old one is revoked.
pub(crate) async fn ensure(store: &Store, path: &Path) -> anyhow::Result<()> {
    if let Ok(secret) = fs::read_to_string(path)
        && store.use_token(shipway_api::secret_hash(secret.trim())).await?.is_some()
    {
        return Ok(());
    }
    for token in store.list_tokens().await?.iter().filter(|token| token.name == NAME) {
        store.revoke_token(token.id, "system").await?;
    }
    let secret = shipway_api::new_secret();
    let token = Token {
        id: TokenId(Uuid::new_v4()),
        name: NAME.to_owned(),
        role: "admin".to_owned(),
        project: ProjectName::default(),
        created_at: store.now().await?,
        expires_at: None,
        last_used_at: None,
    };
    store.add_token(&token, shipway_api::secret_hash(&secret), "system").await?;
    write(path, &secret).with_context(|| format!("cannot write the admin token to {}", path.display()))
}

const NAME: &str = "admin (made at the first start)";

fn write(path: &Path, secret: &str) -> io::Result<()> {
    write_atomic(path, format!("{secret}\n").as_bytes(), 0o600, Durability::Power)
}
