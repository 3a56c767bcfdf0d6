//! Content that rests in the store until somebody needs it.

use std::io::{self, Read};
use std::time::Duration;

use shipway_model::Digest;
use shipway_store::{Deposit, DepositError, Store, StoreError};

use super::images::image;
use super::world::*;

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

async fn read(store: &Store, deposit: &Deposit) -> Vec<u8> {
    let mut all = Vec::new();
    for part in 0..deposit.parts {
        all.extend(store.read_deposit(deposit, part).await.unwrap());
    }
    all
}

#[tokio::test]
async fn what_one_process_puts_down_another_takes_up() {
    let world = world().await;
    let content: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 251) as u8).collect();
    world.put_deposit(&digest(1), io::Cursor::new(content.clone())).await.unwrap();
    world.put_deposit(&digest(2), io::empty()).await.unwrap();
    let other = world.again().await;
    let found = other.find_deposit(&digest(1)).await.unwrap().unwrap();
    assert_eq!((found.size_bytes, found.parts), (2_500_000, 3));
    assert!(read(&other, &found).await == content);
    let empty = other.find_deposit(&digest(2)).await.unwrap().unwrap();
    assert_eq!((empty.size_bytes, empty.parts), (0, 0));
    assert_eq!(other.find_deposit(&digest(3)).await.unwrap(), None);
    assert_eq!(other.read_deposit(&found, 3).await.unwrap_err().to_string(), "there is no such deposit");
}

/// Two archives may unpack to the same tree and differ in their bytes.
#[tokio::test]
async fn of_two_under_one_digest_the_first_to_be_whole_stays_whole() {
    let world = world().await;
    let put = |byte: u8| {
        let store = world.store.clone();
        async move { store.put_deposit(&digest(1), io::repeat(byte).take(3_000_000)).await }
    };
    let (one, other) = tokio::join!(put(1), put(2));
    one.and(other).unwrap();
    let found = world.find_deposit(&digest(1)).await.unwrap().unwrap();
    let bytes = read(&world, &found).await;
    assert!(bytes.len() == 3_000_000 && bytes.iter().all(|byte| *byte == bytes[0]));
    assert_eq!(world.number("SELECT count(*) FROM deposit").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM deposit_part").await, 3);
}

/// Gives some bytes, then fails.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.0.min(buffer.len());
        self.0 -= left;
        if left == 0 { Err(io::Error::other("the disk is gone")) } else { Ok(left) }
    }
}

#[tokio::test]
async fn one_that_was_cut_off_is_never_found_and_goes() {
    let world = world().await;
    let cut = world.put_deposit(&digest(1), Broken(1_500_000)).await;
    assert!(matches!(cut, Err(DepositError::Content(_))), "{cut:?}");
    assert_eq!(world.find_deposit(&digest(1)).await.unwrap(), None);
    assert_eq!(world.collect_deposits(Duration::from_secs(3600)).await.unwrap(), 0, "it may be under way");
    world.spoil("UPDATE deposit SET created_at = created_at - 7200000000").await;
    assert_eq!(world.collect_deposits(Duration::from_secs(3600)).await.unwrap(), 1);
    assert_eq!(world.number("SELECT count(*) FROM deposit_part").await, 0);
}

#[tokio::test]
async fn what_is_needed_stays_and_the_rest_goes_with_time() {
    let world = world().await;
    let uploaded = world.ask_first("uploaded").await.task;
    world.spoil(format!("UPDATE task SET payload = payload || ' ' || '{}'", digest(1))).await;
    world.put_image(&image("box:latest", 2), "local").await.unwrap();
    for byte in 1..=4 {
        world.put_deposit(&digest(byte), io::repeat(byte).take(10)).await.unwrap();
    }
    world.spoil("UPDATE deposit SET created_at = created_at - 7200000000").await;
    world.put_deposit(&digest(5), io::repeat(5).take(10)).await.unwrap();
    assert_eq!(world.collect_deposits(Duration::from_secs(3600)).await.unwrap(), 2);
    let mut left = Vec::new();
    for byte in 1..=5 {
        if world.find_deposit(&digest(byte)).await.unwrap().is_some() {
            left.push(byte);
        }
    }
    assert_eq!(left, [1, 2, 5], "a task's, an image's, a young one");
    world.spoil(format!("UPDATE task SET state = 'done' WHERE id = '{uploaded}'")).await;
    assert_eq!(world.renew_deposit(&digest(1)).await.unwrap(), Some(10));
    assert_eq!(world.renew_deposit(&digest(9)).await.unwrap(), None);
    assert_eq!(world.collect_deposits(Duration::from_secs(3600)).await.unwrap(), 0, "somebody is about to need it");
    world.spoil("UPDATE deposit SET created_at = created_at - 7200000000").await;
    assert_eq!(world.collect_deposits(Duration::from_secs(3600)).await.unwrap(), 2, "an image's stays");
}

#[tokio::test]
async fn a_reader_of_what_has_gone_is_told() {
    let world = world().await;
    world.put_deposit(&digest(1), io::repeat(1).take(10)).await.unwrap();
    let found = world.find_deposit(&digest(1)).await.unwrap().unwrap();
    assert_eq!(world.collect_deposits(Duration::ZERO).await.unwrap(), 1);
    let gone = world.read_deposit(&found, 0).await;
    assert!(matches!(gone, Err(StoreError::NotFound("deposit"))), "{gone:?}");
}

#[tokio::test]
async fn one_that_somebody_is_about_to_need_rests_on() {
    let world = world().await;
    world.put_deposit(&digest(1), io::Cursor::new(b"again".to_vec())).await.unwrap();
    let age = async || world.spoil("UPDATE deposit SET created_at = 1").await;
    let hour = Duration::from_secs(3600);
    age().await;
    world.put_deposit(&digest(1), io::Cursor::new(b"again".to_vec())).await.unwrap();
    assert_eq!(world.collect_deposits(hour).await.unwrap(), 0, "it came again");
    age().await;
    assert_eq!(world.renew_deposit(&digest(1)).await.unwrap(), Some(5));
    assert_eq!(world.collect_deposits(hour).await.unwrap(), 0, "it was asked for");
    age().await;
    assert_eq!(world.collect_deposits(hour).await.unwrap(), 1);
    assert_eq!(world.renew_deposit(&digest(1)).await.unwrap(), None, "who comes too late hears so");
}
