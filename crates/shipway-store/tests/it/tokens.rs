//! API tokens.

use shipway_model::TokenId;
use shipway_store::{StoreError, Token};
use uuid::Uuid;

use super::world::*;

fn token(of: &str, expires_at: Option<i64>) -> Token {
    Token {
        id: TokenId(Uuid::new_v4()),
        name: of.to_owned(),
        role: "admin".to_owned(),
        project: default_project(),
        created_at: 1,
        expires_at,
        last_used_at: None,
    }
}

#[tokio::test]
async fn a_token_is_found_by_the_hash_of_its_secret_alone() {
    let world = world().await;
    let laptop = token("laptop", None);
    world.add_token(&laptop, [1; 32], "local").await.unwrap();
    let found = world.use_token([1; 32]).await.unwrap().unwrap();
    assert_eq!(Token { last_used_at: None, ..found }, laptop);
    assert_eq!(world.use_token([2; 32]).await.unwrap(), None);
    assert_eq!(world.list_tokens().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_use_is_noted_to_the_minute_and_written_once_in_it() {
    let world = world().await;
    world.add_token(&token("laptop", None), [1; 32], "local").await.unwrap();
    assert_eq!(world.list_tokens().await.unwrap()[0].last_used_at, None);
    let before = world.now().await.unwrap();
    let used = world.use_token([1; 32]).await.unwrap().unwrap().last_used_at.unwrap();
    assert!(used <= world.now().await.unwrap() && used > before - 60_000_000);
    assert_eq!(used % 60_000_000, 0);
    assert_eq!(world.list_tokens().await.unwrap()[0].last_used_at, Some(used));
    world.spoil("UPDATE token SET last_used_at = 0").await;
    world.use_token([1; 32]).await.unwrap().unwrap();
    let noted = world.list_tokens().await.unwrap()[0].last_used_at.unwrap();
    assert!(noted == 0 || noted > used, "a second write only in the next minute");
}

#[tokio::test]
async fn a_token_works_until_it_expires() {
    let world = world().await;
    let now = world.now().await.unwrap();
    let soon = token("soon", Some(now + 30_000));
    world.add_token(&soon, [1; 32], "local").await.unwrap();
    let used = world.use_token([1; 32]).await.unwrap();
    assert!(used.is_some() || world.now().await.unwrap() >= now + 30_000, "unless this machine is slow");
    wait_until("it expires", async || world.use_token([1; 32]).await.unwrap().is_none()).await;
    assert!(world.now().await.unwrap() >= now + 30_000);
    assert_eq!(world.list_tokens().await.unwrap().len(), 1, "it is still listed");
}

#[tokio::test]
async fn a_revoked_token_works_no_more() {
    let world = world().await;
    let laptop = token("laptop", None);
    world.add_token(&laptop, [1; 32], "local").await.unwrap();
    assert!(world.revoke_token(laptop.id, "boss").await.unwrap());
    assert_eq!(world.use_token([1; 32]).await.unwrap(), None);
    assert!(!world.revoke_token(laptop.id, "boss").await.unwrap());
    let events = world.list_events(&format!("token/{}", laptop.id), 0, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| serde_json::to_string(&event.kind).unwrap()).collect();
    assert_eq!(
        told,
        [
            r#"{"event":"token","change":"created","actor":"local"}"#,
            r#"{"event":"token","change":"revoked","actor":"boss"}"#
        ]
    );
}

#[tokio::test]
async fn two_tokens_never_share_a_secret_or_an_id() {
    let world = world().await;
    let laptop = token("laptop", None);
    world.add_token(&laptop, [1; 32], "local").await.unwrap();
    for (other, secret) in [(token("other", None), [1; 32]), (laptop, [2; 32])] {
        let refused = world.add_token(&other, secret, "local").await;
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    }
    assert_eq!(world.list_tokens().await.unwrap().len(), 1);
}
