//! Lists are what they say of any bytes, however these come.
#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

use proptest::prelude::*;

use super::*;

fn chunked(content: &[u8], pieces: usize) -> (Digest, ChunkList) {
    let mut chunker = Chunker::default();
    for piece in content.chunks(pieces.max(1)) {
        chunker.update(piece).unwrap();
    }
    chunker.finish()
}

fn content(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|at| (at / 251) as u8 ^ seed ^ at as u8).collect()
}

#[test]
fn the_list_of_a_small_artifact_is_implied() {
    for size in [0, 1, CHUNK_BYTES] {
        let (digest, list) = chunked(&content(size as usize, 1), 1000);
        assert_eq!(ChunkList::implied(&digest, size), Some(list));
    }
    let digest = Digest::from_sha256([0; 32]);
    assert_eq!(ChunkList::implied(&digest, CHUNK_BYTES + 1), None);
}

#[test]
fn a_list_that_was_changed_is_refused() {
    let size = CHUNK_BYTES * 2 + 1;
    let (_, list) = chunked(&content(size as usize, 1), 70_000);
    let text = list.text();
    assert_eq!(text.lines().next(), Some("shipway-chunks 1 1048576 2097153"));
    for wrong in [
        "",
        &text[..text.len() - 65],
        &text.replace("chunks 1", "chunks 2"),
        &text.replace("2097153", "2097154"),
        &format!("{text}{}\n", "a".repeat(64)),
        &text.replace('a', "g"),
    ] {
        assert!(ChunkList::parse(wrong, size).is_err(), "{wrong}");
    }
    assert!(text.len() as u64 <= list_bytes_max(size));
}

#[test]
fn what_is_too_large_is_refused() {
    let mut chunker = Chunker { size_bytes: ARTIFACT_BYTES_MAX, ..Chunker::default() };
    assert!(matches!(chunker.update(b"x"), Err(ArtifactError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The spans of all chunks are the artifact, without a gap, and each verifies as itself only.
    #[test]
    fn spans_cover_everything_once(size in 0_u64..(CHUNK_BYTES * 3 + 2), pieces in 1_usize..2_000_000, seed: u8) {
        let content = content(size as usize, seed);
        let (digest, list) = chunked(&content, pieces);
        prop_assert_eq!(&digest, &Digest::from_sha256(Sha256::digest(&content).into()));
        prop_assert_eq!(&ChunkList::parse(&list.text(), size).unwrap(), &list);
        let mut at = 0;
        for index in 0..chunks_of(size) {
            let span = list.span(index);
            prop_assert_eq!(span.start, at);
            prop_assert!(span.end > span.start && span.end - span.start <= CHUNK_BYTES);
            let chunk = &content[span.start as usize..span.end as usize];
            prop_assert!(list.verify(index, chunk));
            let mut wrong = chunk.to_vec();
            wrong[chunk.len() / 2] ^= 1;
            prop_assert!(!list.verify(index, &wrong));
            prop_assert!(!list.verify(index, &chunk[1..]));
            at = span.end;
        }
        prop_assert_eq!(at, size);
        prop_assert!(!list.verify(chunks_of(size), b""));
    }
}
