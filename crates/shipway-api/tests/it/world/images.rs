//! Trees of images in a folder: unpacked as the real ones are, named by their listing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use shipway_api::{ImageError, Images, Tree};
use shipway_model::Digest;
use shipway_oci::{UnpackError, UnpackLimits};

#[derive(Debug)]
pub(crate) struct FolderImages {
    folder: PathBuf,
}

impl FolderImages {
    pub(super) fn new(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }
}

#[async_trait]
impl Images for FolderImages {
    fn spool(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }

    async fn unpack(&self, archive: File) -> Result<Tree, ImageError> {
        let draft = tempfile::tempdir_in(&self.folder).unwrap();
        let limits = UnpackLimits { bytes_max: 1 << 20, ..UnpackLimits::default() };
        let done = shipway_oci::unpack(archive, draft.path(), &limits).map_err(|error| match error {
            UnpackError::Refused { rule, .. } => ImageError::Refused { rule: rule.word(), detail: error.to_string() },
            error => ImageError::Unavailable(error.to_string()),
        })?;
        let digest = Digest::from_sha256(Sha256::digest(list(draft.path()).join("\n")).into());
        let home = self.folder.join(digest.hex());
        if !home.exists() {
            std::fs::rename(draft.keep(), home).unwrap();
        }
        Ok(Tree {
            digest,
            size_bytes: done.bytes,
            entries: done.entries,
            devices_left_out: done.devices_left_out,
            set_id_dropped: done.set_id_dropped,
            attributes_dropped: done.attributes_dropped,
        })
    }

    /// A server without what makes images.
    async fn bootstrap(&self, from: &str) -> Result<File, ImageError> {
        match from {
            "debian:bookworm" => {
                let what = "mmdebstrap is not installed on this server".to_owned();
                Err(ImageError::NotInstalled { what, remedy: "apt-get install mmdebstrap".to_owned() })
            }
            _ => Err(ImageError::Unknown(format!("`{from}` cannot be made"))),
        }
    }
}

fn list(folder: &Path) -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.symlink_metadata().unwrap().is_dir() {
                true => list(path).into_iter().map(|inner| format!("{name}/{inner}")).chain([name.clone()]).collect(),
                false => vec![format!("{name} {:?} {:?}", std::fs::read(path).ok(), std::fs::read_link(path).ok())],
            }
        })
        .collect()
}
