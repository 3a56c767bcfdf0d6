//! An archive becomes a layer.
//!
//! Unpacked where layers are made, under the rules of `shipway-oci`, and named by what
//! came out: the same tree in another wrapping is the same layer.

use std::io::Read;

use shipway_engine::layers::{LayerError, Layers};
use shipway_model::Digest;
use shipway_oci::{UnpackError, UnpackLimits, Unpacked};

/// Why an archive did not become a layer.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive: it broke a rule, or could not be read or written out.
    #[error(transparent)]
    Archive(UnpackError),
    /// The place where layers are kept.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Unpacks `archive` into a layer and returns its name, with what was left out.
///
/// # Errors
///
/// [`ImportError`]; nothing is left behind then.
pub async fn import(
    layers: &Layers,
    archive: impl Read + Send + 'static,
    limits: UnpackLimits,
) -> Result<(Digest, Unpacked), ImportError> {
    let made = layers.import_made(move |tree| shipway_oci::unpack(archive, tree, &limits)).await?;
    made.map_err(ImportError::Archive)
}
