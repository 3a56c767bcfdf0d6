//! What builds have made, read as whoever downloads it reads it: every byte.

use std::collections::BTreeMap;
use std::io::Cursor;

use futures_util::TryStreamExt as _;
use shipway_artifacts::sign::verify;
use shipway_artifacts::{Artifacts, Stored};

use super::Rows;
use super::rows::Artifact;
use crate::part::farm::StorePlace;

/// Reads every artifact that a row speaks of.
pub(super) async fn look(
    store: &StorePlace,
    key: &str,
    rows: &Rows,
) -> anyhow::Result<BTreeMap<String, Result<(), String>>> {
    let artifacts = Artifacts::open(&store.config()).await?;
    let mut found = BTreeMap::new();
    for artifact in &rows.artifacts {
        let signed = rows.documents.iter().find(|text| text.build == artifact.build && text.kind == "minisig");
        let signature = signed.map(|text| text.text.as_str());
        let good = one(&artifacts, artifact, key, signature).await.map_err(|error| format!("{error:#}"));
        found.insert(artifact.digest.clone(), good);
    }
    Ok(found)
}

async fn one(artifacts: &Artifacts, row: &Artifact, key: &str, signature: Option<&str>) -> anyhow::Result<()> {
    let digest = row.digest.parse()?;
    let chunks = row.chunks.as_deref().unwrap_or(&row.digest).parse()?;
    let stored = Stored { digest, size_bytes: row.size_bytes, chunks };
    let mut reading = artifacts.read(&stored, None).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reading.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    let signature = signature.ok_or_else(|| anyhow::anyhow!("it is not signed"))?;
    verify(key, signature, Cursor::new(bytes))?;
    Ok(())
}
