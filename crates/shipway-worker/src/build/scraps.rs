//! Binaries on their way, and what is left of them when somebody was cut off.
//!
//! A binary is in the farm's folder from the sandbox to the place of artifacts, and goes with
//! the build that made it, however that ends. One whose worker was killed is of no use to
//! anybody: the next try makes it anew. It goes at the next start, before anything is built.
//! A journal beside it (`.upload`) tells the next try of the same build how far its upload
//! came; it goes at the start after that build has ended.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use shipway_model::BuildId;
use shipway_stdx::fs::remove_if_there;
use shipway_store::Store;

use super::Farming;

/// The end of a journal's name.
const JOURNAL: &str = "upload";

/// Removes the binary when dropped: at a build's end, and when its lease was lost.
pub(super) struct Binary<'a>(pub(super) &'a Path);

impl Drop for Binary<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove_if_there(self.0) {
            tracing::warn!(file = %self.0.display(), %error, "a binary stays until the next start");
        }
    }
}

impl Farming {
    /// Removes what lives before this one have left. Nothing may be at work yet.
    pub(crate) async fn clear(&self, store: &Store) {
        match std::fs::read_dir(&self.folder) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    if is_scrap(store, &entry.path()).await
                        && let Err(error) = remove_if_there(&entry.path())
                    {
                        tracing::warn!(file = %entry.path().display(), %error, "what a build has left stays");
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "what builds have left stays"),
        }
    }
}

/// Whether nobody can go on with a file; a journal, if its build has ended or is forgotten.
async fn is_scrap(store: &Store, path: &Path) -> bool {
    if path.extension() != Some(OsStr::new(JOURNAL)) {
        return true;
    }
    let id = path.file_stem().and_then(OsStr::to_str).and_then(|name| name.parse::<BuildId>().ok());
    let Some(id) = id else { return true };
    // Who cannot be asked is asked at the next start.
    store.find_build(id).await.is_ok_and(|build| build.is_none_or(|build| build.state.is_final()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn binaries_go_and_journals_of_builds_that_are_to_be_made_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("shipway.sqlite")).await.unwrap();
        let request = shipway_store::BuildRequest {
            project: shipway_model::ProjectName::default(),
            recipe: "tiny".to_owned(),
            key: "0".repeat(64),
            spec: "{}".to_owned(),
            actor: "local".to_owned(),
            after: 0,
            labels: std::collections::BTreeSet::new(),
        };
        let (build, _) = store.request_build(request).await.unwrap();
        let path = |name: &str| folder.path().join(name);
        let (binary, journal) = (path(&build.id.to_string()), path(&format!("{}.upload", build.id)));
        assert!(is_scrap(&store, &binary).await);
        assert!(!is_scrap(&store, &journal).await);
        assert!(is_scrap(&store, &path(&format!("{}.upload", uuid::Uuid::nil()))).await);
        assert!(is_scrap(&store, &path("what.upload")).await);
        store.cancel_build(&shipway_model::ProjectName::default(), build.id, "local").await.unwrap();
        assert!(is_scrap(&store, &journal).await);
    }

    #[test]
    fn a_binary_goes_with_its_build() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("binary");
        drop(std::fs::File::create(&file).unwrap());
        drop(Binary(&file));
        assert!(!file.exists());
    }
}
